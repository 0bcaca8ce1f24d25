"""``cloakbench check``: hold methods, recognisers and generators against their contracts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from omegaconf import DictConfig
from rich.table import Table
from rich.text import Text

from cloakbench.bench.config.compose import (
    WITHOUT_EXPERIMENT,
    compose_config,
    group_options,
    resolved,
    split_config_dirs,
)
from cloakbench.bench.core.checks import CheckResult
from cloakbench.bench.core.errors import ConfigError, reason_of
from cloakbench.bench.core.screen import Screen, plain

_GROUPS = ("method", "model", "attribute_model", "generator")
_ALL = {"all": _GROUPS, **{f"{group}s": (group,) for group in _GROUPS}}
_USAGE = (
    "cloakbench check method=NAME, model=NAME, attribute_model=NAME or generator=NAME, or cloakbench check all "
    "(methods, models, attribute_models, generators)"
)


def main(words: Sequence[str]) -> int:
    """``cloakbench check method=NAME`` on a tiny network in seconds; ``cloakbench check model=NAME [dataset=...]`` on
    four images and on faces; ``cloakbench check attribute_model=NAME`` and ``cloakbench check generator=NAME`` on four
    images; ``cloakbench check all``, ``methods``, ``models``, ``attribute_models`` or ``generators``: every method,
    every embedded model, every generator whose files are here.
    """
    config_dirs, rest = split_config_dirs(words)
    if len(rest) == 1 and rest[0] in _ALL:
        return _check_all(_ALL[rest[0]], config_dirs)
    kinds = {word.partition("=")[0] for word in rest} & {*_GROUPS}
    if len(kinds) != 1:
        raise ConfigError(f"say what to check: {_USAGE}")
    if kinds == {"method"}:
        config = compose_config([WITHOUT_EXPERIMENT, *rest], config_dirs=config_dirs)
        name, results = config.method_key, _check_method(config)
    elif kinds == {"attribute_model"}:
        name, results = _check_attribute_model(words)
    elif kinds == {"generator"}:
        name, results = _check_generator(rest, config_dirs)
    else:
        name, results = _check_model(words)
    table = Table(title=plain(f"Conformance of {name}"), box=None, title_justify="left", pad_edge=False)
    for title in ("check", "result", "detail"):
        table.add_column(title)
    for result in results:
        table.add_row(result.name, _word(result.passed, result.skipped), result.detail)
    Screen().print(table)
    return 0 if all(result.passed for result in results) else 1


def _word(passed: bool, skipped: bool) -> Text:
    return plain("skipped", "dim") if skipped else plain("passed", "green") if passed else plain("failed", "red")


def _check_method(config: DictConfig) -> list[CheckResult]:
    import torch

    from cloakbench.bench.plan.plan import make_protector
    from cloakbench.methods.conformance import check_config

    torch.set_num_threads(1)  # many small operations: threads would only wait for each other
    settings = resolved(config.method)
    make_protector(settings, config.method_key, "method")  # a bad setting is one line, not a failed check
    return check_config(settings)


def _check_generator(words: Sequence[str], config_dirs: Sequence[str]) -> tuple[str, list[CheckResult]]:
    """Name and results of a generator; of its settings the words may change some."""
    import torch

    from cloakbench.bench.config.checks.setting_checks import check_values
    from cloakbench.bench.config.networks import build_generator
    from cloakbench.models.conformance import smooth_images
    from cloakbench.models.generator_conformance import check_generator

    torch.set_num_threads(1)
    config = compose_config(words, config_dirs=config_dirs)  # with an experiment, whose settings are held against kinds
    if config.generator is None:
        raise ConfigError("say which generator: cloakbench check generator=NAME (see cloakbench list generators)")
    check_values(config)
    name = next(word.partition("=")[2] for word in words if word.startswith("generator="))
    return name, check_generator(build_generator(resolved(config.generator)), smooth_images("cpu"))


def _check_attribute_model(words: Sequence[str]) -> tuple[str, list[CheckResult]]:
    """Name and results of an attribute network, and of the task it fits where one is named."""
    from cloakbench.bench.recognisers.attribute_session import compose_one_attribute_model
    from cloakbench.models.attribute_surrogate import AttributeSurrogate
    from cloakbench.models.conformance import check_attribute_model, smooth_images

    one = compose_one_attribute_model(words, "check")
    if one.has_task:
        AttributeSurrogate(one.model, one.task())  # one that does not fit is one line, not a failed check
    return one.name, check_attribute_model(one.model, smooth_images(one.config.device))


def _check_model(words: Sequence[str]) -> tuple[str, list[CheckResult]]:
    import torch

    from cloakbench.bench.recognisers.face_checks import CheckSettings, Faces, check_on_faces
    from cloakbench.bench.recognisers.session import compose_one_model, faces_of
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
    settings = CheckSettings(
        one.config.plan.embed_batch, one.config.device, one.config.statistics.resamples, one.config.seed
    )
    return one.name, results + check_on_faces(one.model, faces, one.no_faces, settings)


@dataclass(frozen=True)
class _SuiteResult:
    """A whole suite in one line.

    Attributes:
        passed: no check failed.
        detail: which failed and why, or why the suite was skipped.
        skipped: it lacks something that is not here.
    """

    passed: bool
    detail: str = ""
    skipped: bool = False


def _check_all(groups: Sequence[str], config_dirs: Sequence[str]) -> int:
    """Every method and every embedded recogniser, each after the other whatever came out; a line each, as it ends."""
    console = Screen()
    results = []
    for group in groups:
        suite = _SUITES[group]
        for name in group_options(group, config_dirs):
            result = _timed(console, group, name, lambda name=name, suite=suite: suite(name, config_dirs))
            results += [result] if result is not None else []
    failed = sum(not result.passed for result in results)
    skipped = sum(result.skipped for result in results)
    console.print(f"{len(results) - failed - skipped} passed, {skipped} skipped, {failed} failed")
    return 1 if failed else 0


def _timed(console: Screen, group: str, name: str, suite: Callable[[], _SuiteResult | None]) -> _SuiteResult | None:
    begun = time.perf_counter()
    try:
        result = suite()
    except Exception as problem:  # a method or network of a user's own may raise anything
        result = _SuiteResult(passed=False, detail=reason_of(problem))
    if result is not None:
        told = _word(result.passed, result.skipped)
        seconds = f"{time.perf_counter() - begun:5.1f} s"
        line = Text.assemble(plain(f"{group} {name:<32} "), told, plain(f" {seconds}  {result.detail}".rstrip()))
        console.print(line, soft_wrap=True)
    return result


def _method_suite(name: str, config_dirs: Sequence[str]) -> _SuiteResult:
    from cloakbench.bench.doctor.preflight import missing_of_method

    config = compose_config([WITHOUT_EXPERIMENT, f"method={name}"], config_dirs=config_dirs)
    if missing := missing_of_method(config.method):
        return _SuiteResult(passed=True, detail="; ".join(map(str, missing)), skipped=True)
    return _summed(_check_method(config))


def _model_suite(name: str, config_dirs: Sequence[str]) -> _SuiteResult | None:
    """The contract of an embedded recogniser, without faces; None for all others, whose weights are not here."""
    from cloakbench.bench.config.networks import build_recogniser, is_embedded
    from cloakbench.models.conformance import check_recogniser, smooth_images

    config = compose_config([WITHOUT_EXPERIMENT, f"model@surrogate={name}"], config_dirs=config_dirs).surrogate
    if not is_embedded(config):
        return None
    return _summed(check_recogniser(build_recogniser(resolved(config), name), smooth_images("cpu")))


def _attribute_suite(name: str, config_dirs: Sequence[str]) -> _SuiteResult | None:
    """The contract of an embedded attribute network; None for all others, whose weights are not here."""
    from cloakbench.bench.recognisers.attribute_session import is_embedded_attributes

    config = compose_config([WITHOUT_EXPERIMENT, f"+attribute_model@one={name}"], config_dirs=config_dirs).one
    if not is_embedded_attributes(config):
        return None
    return _summed(_check_attribute_model([f"attribute_model={name}"])[1])


def _generator_suite(name: str, config_dirs: Sequence[str]) -> _SuiteResult:
    from cloakbench.bench.doctor.preflight import missing_of_generator

    words = [f"generator={name}"]
    if missing := missing_of_generator(compose_config([WITHOUT_EXPERIMENT, *words], config_dirs=config_dirs).generator):
        return _SuiteResult(passed=True, detail="; ".join(map(str, missing)), skipped=True)
    return _summed(_check_generator(words, config_dirs)[1])


_SUITES: dict[str, Callable[[str, Sequence[str]], _SuiteResult | None]] = {
    "method": _method_suite,
    "model": _model_suite,
    "attribute_model": _attribute_suite,
    "generator": _generator_suite,
}


def _summed(results: Sequence[CheckResult]) -> _SuiteResult:
    failed = [f"{result.name}: {result.detail}" for result in results if not result.passed]
    return _SuiteResult(passed=not failed, detail="; ".join(failed))
