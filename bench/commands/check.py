"""``cloakbench check``: hold a method or a recogniser against its contract."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omegaconf import OmegaConf
from rich.table import Table

from cloakbench.bench.commands.console import wide_console
from cloakbench.bench.composition import compose_config, split_config_dirs
from cloakbench.bench.plan import ConfigError
from cloakbench.bench.report.screen import plain
from cloakbench.datasets.checks import CheckResult


def main(words: Sequence[str]) -> int:
    """``cloakbench check method=NAME`` on a tiny network in seconds; ``cloakbench check model=NAME [dataset=...]`` on
    four images and on faces."""
    kinds = {word.partition("=")[0] for word in words} & {"method", "model"}
    if len(kinds) != 1:
        raise ConfigError("say what to check: cloakbench check method=NAME, or cloakbench check model=NAME")
    name, results = (_check_method if kinds == {"method"} else _check_model)(words)
    table = Table(title=f"Conformance of {name}", box=None, title_justify="left", pad_edge=False)
    for title in ("check", "result", "detail"):
        table.add_column(title)
    for result in results:
        word, colour = (
            ("skipped", "dim") if result.skipped else ("passed", "green") if result.passed else ("failed", "red")
        )
        table.add_row(result.name, plain(word, colour), result.detail)
    wide_console().print(table)
    return 0 if all(result.passed for result in results) else 1


def _check_method(words: Sequence[str]) -> tuple[str, list[CheckResult]]:
    from cloakbench.bench.plan import make_protector
    from cloakbench.methods.conformance import check_config

    config_dirs, overrides = split_config_dirs(words)
    config = compose_config(overrides, config_dirs=config_dirs)
    plain: Any = OmegaConf.to_container(config.method, resolve=True)
    make_protector(plain, config.method_key, "method")  # a bad setting is one line, not a failed check
    return config.method_key, check_config(plain)


def _check_model(words: Sequence[str]) -> tuple[str, list[CheckResult]]:
    import torch

    from cloakbench.bench.face_checks import Faces, Judge, check_on_faces
    from cloakbench.bench.one_model import compose_one_model, faces_of
    from cloakbench.datasets.base import FaceSet
    from cloakbench.models.conformance import check_recogniser, smooth_images

    one = compose_one_model(words, "check")
    results = check_recogniser(one.model, smooth_images(one.config.device))
    faces = None
    if not one.no_faces:
        dataset = faces_of(one)
        known = [dataset.faces(role) for role in ("reference", "probe") if role in dataset.roles()]
        if not known:
            raise ConfigError(f"data set {dataset.name} has no people with several photos")
        joined = FaceSet(
            torch.cat([some.images for some in known]),
            tuple(name for some in known for name in some.image_id),
            tuple(name for some in known for name in some.identity),
        )
        faces = Faces(joined, dataset.faces("distractor") if "distractor" in dataset.roles() else None)
    judge = Judge(one.config.plan.embed_batch, one.config.device, one.config.statistics.resamples, one.config.seed)
    return one.name, results + check_on_faces(one.model, faces, one.no_faces, judge)
