"""``cloakbench doctor``: the machine, and for each experiment preset and generator whether it can run here, now."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from omegaconf import DictConfig
from rich.table import Table

from cloakbench.bench.config.asked import asks_about_probes
from cloakbench.bench.config.compose import WITHOUT_EXPERIMENT, compose_config, group_options, split_config_dirs
from cloakbench.bench.core.errors import ConfigError, cause_of
from cloakbench.bench.core.screen import Screen, plain
from cloakbench.bench.doctor.estimate import Estimator, disk_bytes, probe_photos, published_photos
from cloakbench.bench.doctor.preflight import (
    Missing,
    Presets,
    free_bytes,
    missing_of_generator,
    missing_parts,
    planned_cells,
    protocols_of,
)
from cloakbench.bench.engine.outside import AsksOutside
from cloakbench.bench.engine.protocol import Protocol
from cloakbench.bench.plan.plan import Cell
from cloakbench.bench.processes.time_left import duration

log = logging.getLogger(__name__)

Asked = Mapping[str, Protocol]
"""The protocols that somebody asks, by key."""

_TIME = {"time=true": True, "time=false": False}


@dataclass(frozen=True)
class Diagnosis:
    """One preset: what is missing, and what it will take.

    Attributes:
        name: the preset.
        missing: what is not here.
        photos, disk_bytes: at most; None where only the photos themselves can tell.
        seconds: estimated for this machine; None when nothing is known.
        per_photo: the seconds are those of one photo in every cell.
        unknown: in one word why nothing is known of the time.
        services: who is asked outside, and how much at most.
    """

    name: str
    missing: Sequence[Missing]
    photos: int | None = None
    disk_bytes: int | None = None
    seconds: float | None = None
    per_photo: bool = False
    unknown: str = "-"
    services: Sequence[str] = ()

    @property
    def ready(self) -> bool:
        """Whether the experiment runs; it may still leave gaps."""
        return not any(part.blocking for part in self.missing)


def main(words: Sequence[str]) -> int:
    """``cloakbench doctor [time=false] [--config-dir DIR]``: nothing is fetched, rendered or written.

    The networks of the presets that can run are built and timed on a batch each; ``time=false`` leaves that out.
    """
    config_dirs, rest = split_config_dirs(words)
    if unknown := [word for word in rest if word not in _TIME]:
        raise ValueError(f"doctor does not know {unknown[0]!r}; it takes time=false and --config-dir DIR")
    measured = all(_TIME[word] for word in rest)
    console = Screen()
    _print_machine(console)
    _print_diagnoses(console, diagnose(config_dirs, measured=measured))
    _print_generators(console, config_dirs)
    _print_legend(console)
    return 0


def diagnose(config_dirs: Sequence[str], *, measured: bool) -> list[Diagnosis]:
    """Every experiment preset; ``measured`` asks for times on this machine."""
    presets = Presets(group_options("model", config_dirs), group_options("dataset", config_dirs))
    torch.set_num_threads(1)  # as workers have it; and photos of noise are too small for more
    estimator = Estimator() if measured else None
    names = group_options("experiment", config_dirs)
    found = [_diagnosis(name, config_dirs, presets, estimator) for name in names]
    if estimator is not None:
        estimator.save()
    return found


def _diagnosis(name: str, config_dirs: Sequence[str], presets: Presets, estimator: Estimator | None) -> Diagnosis:
    try:
        config = compose_config([f"experiment={name}"], config_dirs=config_dirs)
        protocols = protocols_of(config)
        cells, refusal = planned_cells(config)
        missing = missing_parts(config, presets, protocols, cells)
        if refusal:
            return Diagnosis(name, [*missing, Missing(refusal, "")])
        asked = tuple(_services(config, protocols, cells))
        untimed = Diagnosis(name, missing, _photos(config, protocols), disk_bytes(config, cells), services=asked)
    except ConfigError as problem:
        return Diagnosis(name, [Missing(str(problem), "")])
    return untimed if estimator is None else _timed(untimed, config, protocols, cells, estimator)


def _services(config: DictConfig, protocols: Asked, cells: Sequence[Cell]) -> Iterator[str]:
    for protocol in protocols.values():
        if isinstance(protocol, AsksOutside):
            yield from protocol.asks_in(config, published_photos(config, cells))


def _timed(
    one: Diagnosis, config: DictConfig, protocols: Asked, cells: Sequence[Cell], estimator: Estimator
) -> Diagnosis:
    """A diagnosis with its time, or with the word that says why there is none.

    Networks are built for it, so nothing but photos may be missing: weights would be fetched.
    """
    if lacking := [part for part in one.missing if part.about != "photos" and (part.blocking or part.about)]:
        about = {part.about for part in lacking}
        return replace(one, unknown="weights" if "weights" in about else "settings")
    try:
        seconds = _seconds(config, protocols, cells, estimator)
        if seconds is not None:
            return replace(one, seconds=seconds)
        seconds = _seconds(config, protocols, cells, estimator, per_photo=True)
        return replace(one, unknown="judges") if seconds is None else replace(one, seconds=seconds, per_photo=True)
    except Exception as problem:  # a method or network of a user's own may raise anything
        log.info("%s: no estimate of its time (%s)", one.name, cause_of(problem))
        return replace(one, unknown="failed")


def _own_photos(config: DictConfig, protocols: Asked) -> int | None:
    """Photos of a cell of the protocols that bring their own; None where only the photos themselves can tell."""
    counts = [one.photos(config, f"protocols.{key}.") for key, one in protocols.items()]
    return None if None in counts else max((count for count in counts if count is not None), default=0)


def _photos(config: DictConfig, protocols: Asked) -> int | None:
    """Photos of a cell of the experiment; of its protocols where nobody asks about the probes."""
    return probe_photos(config) if asks_about_probes(config) else _own_photos(config, protocols)


def _seconds(
    config: DictConfig, protocols: Asked, cells: Sequence[Cell], estimator: Estimator, *, per_photo: bool = False
) -> float | None:
    parts = [one.seconds(config, f"protocols.{key}.", estimator, per_photo=per_photo) for key, one in protocols.items()]
    if asks_about_probes(config):
        parts.append(estimator.seconds_per_photo(config, cells) if per_photo else estimator.seconds(config, cells))
    return None if None in parts else sum(part for part in parts if part is not None)


def _print_machine(console: Screen) -> None:
    from cloakbench.bench.experiment.environment import describe
    from cloakbench.bench.processes.pool import available_cores
    from cloakbench.models.download import offline_switch

    accelerator = describe("cuda" if torch.cuda.is_available() else "cpu")["accelerator"]
    free_gib = free_bytes(compose_config([WITHOUT_EXPERIMENT])) / 2**30
    offline = f"; offline ({offline_switch()} is set)" if offline_switch() else ""
    console.print(
        f"Python {platform.python_version()}, torch {torch.__version__}, {available_cores()} cores, "
        f"{accelerator or 'no GPU'}, {free_gib:.0f} GiB free for results{offline}",
        highlight=False,
    )


def where_lacking(part: Missing, diagnoses: Sequence[Diagnosis]) -> str:
    """The experiments that lack a part; of most of them, those that do not."""
    lacking = [one.name for one in diagnoses if part in one.missing]
    others = [one.name for one in diagnoses if part not in one.missing]
    if len(lacking) <= len(others):
        return ", ".join(lacking)
    return "every experiment" + (f" but {', '.join(others)}" if others else "")


def _print_diagnoses(console: Screen, diagnoses: Sequence[Diagnosis]) -> None:
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    for title in ("experiment", "state", "photos", "disk", "time"):
        table.add_column(title, no_wrap=True, justify="right" if title in ("photos", "disk", "time") else "left")
    for one in diagnoses:
        state = plain("ready", "green") if one.ready else plain("not yet", "yellow")
        photos = "?" if one.photos is None else str(one.photos)
        table.add_row(one.name, state, photos, _size(one.disk_bytes), _duration(one))
    console.print(table)
    for part in dict.fromkeys(part for one in diagnoses for part in one.missing if part.blocking):
        console.note(f"missing for {where_lacking(part, diagnoses)}: {part}", style="")
    for gap in dict.fromkeys(part for one in diagnoses for part in one.missing if not part.blocking):
        console.note(f"a gap in {where_lacking(gap, diagnoses)}: {gap}")
    for one in diagnoses:
        for asked in one.services:
            console.note(f"services in {one.name}: {asked}, photos that are enrolled apart")


def _print_legend(console: Screen) -> None:
    console.print("photos and disk: protected photos of a cell, and what the results take; at most", style="dim")
    console.print(
        "~ estimated: network passes of protecting and answering, counted and timed here; faces, views, trainings that "
        "serve all photos, image metrics and the report come on top, and a search that may stop early is taken to its "
        "end; a word instead says what is missing for it",
        style="dim",
        highlight=False,
    )


def _print_generators(console: Screen, config_dirs: Sequence[str]) -> None:
    """What generators lack, of which most are in no preset."""
    for name in group_options("generator", config_dirs):
        try:
            config = compose_config([WITHOUT_EXPERIMENT, f"+generator@found={name}"], config_dirs=config_dirs).found
            missing = missing_of_generator(config)
        except ConfigError as problem:
            missing = [Missing(str(problem), "")]
        for part in missing:
            console.note(f"missing for generator={name}: {part}", style="")


def _size(size_bytes: int | None) -> str:
    if size_bytes is None:
        return "?"
    return f"{size_bytes / 2**30:.1f} GiB" if size_bytes >= 2**29 else f"{size_bytes / 2**20:.0f} MiB"


def _duration(one: Diagnosis) -> str:
    seconds = one.seconds
    if seconds is None:
        return one.unknown
    if one.per_photo:
        return f"~{seconds:.2g} s/photo"
    return f"~{duration(seconds)}"
