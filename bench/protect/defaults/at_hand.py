"""`with_defaults`: the method and the recognisers of real faces that a command line leaves to the command."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from cloakbench.bench.config.compose import compose_config, group_options, missing_settings, resolved
from cloakbench.bench.config.networks import build_recogniser, is_embedded
from cloakbench.models.base import Recogniser
from cloakbench.models.same_weights import same_weights

METHOD, OF_ONE = "eot_ensemble", "eot_one"
"""What protects where no method is named: against several recognisers, and against a single one."""

_FOR_ENSEMBLES = (METHOD, "eot_opom")
"""Methods that take every recogniser there is, where none is named."""
_SURROGATES = ("model@surrogate=", "model@surrogates.", "surrogate=", "surrogates", "~model@surrogate")
_JUDGES = ("model@target=", "model@targets.")

log = logging.getLogger(__name__)


def with_defaults(words: Sequence[str]) -> list[str]:
    """The words of ``cloakbench protect``, with a method and surrogates where none are named and some are there.

    Recognisers of real faces whose files are there all help, but for those that judge, and each network once, in
    however many files it lies. Without any the words stay, and what is missing is asked for.
    """
    given = [word.lstrip("+") for word in words]
    method = next((word.partition("=")[2] for word in given if word.startswith("method=")), None)
    if any(word.startswith(_SURROGATES) for word in given) or (method is not None and method not in _FOR_ENSEMBLES):
        return list(words)
    judges = [word.partition("=")[2] for word in given if word.startswith(_JUDGES)]
    names = apart(judges)
    if not names:
        return list(words)
    log.info(
        "surrogates: %s, every recogniser of real faces in CLOAKBENCH_WEIGHTS that does not judge", ", ".join(names)
    )
    first, *others = names
    chosen = [] if method else [f"method={METHOD if others else OF_ONE}"]
    return [*words, *chosen, f"model@surrogate={first}", *(f"+model@surrogates.{name}={name}" for name in others)]


def apart(judges: Sequence[str]) -> list[str]:
    """Names of the recognisers at hand that are other networks than the judges and than each other, in order."""
    there = [name for name in group_options("model") if name not in judges and _is_there(name)]
    if not there:
        return []
    built = {name: model for name in (*judges, *there) if (model := _built(name)) is not None}
    alike = same_weights(built)
    kept: list[str] = []
    for name in there:
        if name in built and alike[name].isdisjoint((*judges, *kept)):
            kept.append(name)
    return kept


def _is_there(name: str) -> bool:
    """Whether a recogniser of the project's knows real faces, is no template, and has its files."""
    text = (resources.files("cloakbench.conf") / "model").joinpath(f"{name}.yaml")
    if not text.is_file():
        return False
    config = OmegaConf.create(text.read_text(encoding="utf-8"))
    if "defaults" in config:
        config = compose_config([f"model@surrogate={name}"], "protect").surrogate
    if not isinstance(config, DictConfig) or is_embedded(config) or missing_settings(config):
        return False
    plain = resolved(config)
    parts = [part for part in (plain.get("weights"), plain.get("symbol")) if isinstance(part, Mapping)]
    files = [part["path"] for part in parts if part.get("path")]
    return bool(files) and all(Path(path).is_file() for path in files)


def _built(name: str) -> Recogniser | None:
    """The recogniser; None where it cannot be built here, which is said."""
    try:
        return build_recogniser(resolved(compose_config([f"model@surrogate={name}"], "protect").surrogate), name)
    except ValueError as problem:
        log.warning("%s does not help: %s", name, problem)
        return None
