"""Schema of an experiment and of commands: the kind of each setting, so that a wrong value is one line, no traceback.

Settings of methods, models and data sets are held against the annotations of their constructors
(:mod:`cloakbench.bench.config.checks.annotations`), which then say what is out of range.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.machine import PRECISIONS
from cloakbench.bench.core.ranges import GREY_LEVELS, is_grey_levels, is_number, is_whole, shown


@dataclass(frozen=True)
class Kind:
    """A kind of plain value: what it is in words, and whether a value is one."""

    words: str
    accepts: Callable[[Any], bool]

    def __or__(self, other: Kind) -> Kind:
        if self.words == other.words:
            return self
        return Kind(f"{self.words}, or {other.words}", lambda value: self.accepts(value) or other.accepts(value))

    def refusal(self, key: str, value: Any) -> str:
        """One line: the setting, what it is, and what it must be."""
        quoted = f" (in quotes: {key}='\"{value}\"')" if self.words.startswith("text") and is_number(value) else ""
        return f"{key} is {shown(value)}: it must be {self.words}{quoted}"


def at_least(least: int) -> Kind:
    """A count."""
    return Kind(f"a whole number of at least {least}", lambda value: is_whole(value) and value >= least)


def one_of(options: Sequence[Any]) -> Kind:
    """One of a few plain values."""
    words = ", ".join(map(shown, options))
    return Kind(
        words if len(options) == 1 else f"one of {words}",
        lambda value: any(type(value) is type(one) and value == one for one in options),
    )


def list_of(kind: Kind | None, words: str = "", *, once: bool = False, some: bool = False) -> Kind:
    """A list of values of one kind, in words of its own; with ``once`` no value twice, with ``some`` at least one."""
    plain = "a list" if kind is None else f"a list, each entry {kind.words}"

    def accepts(value: Any) -> bool:
        if not isinstance(value, list | tuple) or (some and not value):
            return False
        sound = kind is None or all(map(kind.accepts, value))
        return sound and not (once and any(one in value[:place] for place, one in enumerate(value)))

    return Kind(words or plain, accepts)


def row_of(kinds: Sequence[Kind | None]) -> Kind:
    """A list of as many values as there are kinds, one of each."""
    words = {kind.words for kind in kinds if kind is not None}
    each = f", each {words.pop()}" if len(words) == 1 else ""

    def accepts(value: Any) -> bool:
        return (
            isinstance(value, list | tuple)
            and len(value) == len(kinds)
            and all(kind is None or kind.accepts(one) for kind, one in zip(kinds, value, strict=True))
        )

    return Kind(f"a list of {len(kinds)} values{each}", accepts)


def mapping_of(kind: Kind | None) -> Kind:
    """A mapping from names to values of one kind."""
    words = MAPPING.words + ("" if kind is None else f", each value {kind.words}")
    return Kind(
        words, lambda value: MAPPING.accepts(value) and (kind is None or all(map(kind.accepts, value.values())))
    )


NULL = Kind("null", lambda value: value is None)
AUTO = Kind("auto", lambda value: value == "auto")
BOOL = Kind("true or false", lambda value: isinstance(value, bool))
WHOLE = Kind("a whole number", is_whole)
NUMBER = Kind("a finite number", is_number)
TEXT = Kind("text", lambda value: isinstance(value, str))
MAPPING = Kind("a mapping such as {key: value}", lambda value: isinstance(value, Mapping))
BLOCK = Kind(
    "a block with _target_", lambda value: isinstance(value, Mapping) and isinstance(value.get("_target_"), str)
)
RATE = Kind("a rate above 0 and below 1", lambda value: is_number(value) and 0 < value < 1)
SHARE = Kind("a number from 0 to below 1", lambda value: is_number(value) and 0 <= value < 1)
BUDGET = Kind(GREY_LEVELS, is_grey_levels)
BUDGETS = list_of(
    BUDGET, "a list of numbers from 0 to 255 in grey levels such as [4,8] (8 for 8/255), each once", once=True
)
NAMES = list_of(TEXT, "a list of names such as [one,two], each once", once=True)
SOME_NAMES = list_of(TEXT, "a list of at least one name such as [one,two], each once", once=True, some=True)
SETTINGS = Kind(
    "a mapping from settings to lists of values such as {steps: [2,5]}",
    lambda value: isinstance(value, Mapping) and bool(value),
)
VALUES = list_of(None, "a list of at least one value such as [2,5], each once", once=True, some=True)
NAME = Kind("a name that is not blank", lambda value: isinstance(value, str) and bool(value.strip(" .")))

_GROUPS = (
    *("methods", "controls", "surrogates", "targets", "attribute_surrogates", "attribute_targets", "transforms"),
    *("protocols", "metrics", "services", "logger"),
)

KINDS: Mapping[str, Kind] = {
    "name": NAME,
    "description": TEXT,
    "seed": at_least(0) | NULL,  # null: for commands that draw one
    "dataset": BLOCK,
    "method": BLOCK | NULL,
    "surrogate": BLOCK | NULL,
    "target": BLOCK | NULL,
    "generator": BLOCK | NULL,
    "attribute_task": BLOCK | NULL,
    "attribute_counts": list_of(at_least(1), "a list of whole numbers of at least 1, each once", once=True),
    **dict.fromkeys(_GROUPS, MAPPING),
    **{f"{group}.*": BLOCK for group in _GROUPS},
    "ensembles": MAPPING,
    "ensembles.*": SOME_NAMES,
    "single_surrogates": BOOL,
    "epsilons_255": BUDGETS | NULL,
    "plan": MAPPING,
    "plan.chunk_identities": at_least(1),
    "plan.embed_batch": at_least(1),
    "plan.limits": MAPPING | NULL,
    "plan.limits.*": MAPPING,
    "plan.limits.*.people": at_least(1) | NULL,
    "plan.limits.*.photos": at_least(1) | NULL,
    "plan.limits.*.epsilons_255": BUDGETS | NULL,
    "plan.limits.*.surrogates": MAPPING | NULL,
    "plan.limits.*.surrogates.*": SOME_NAMES,
    "variants": MAPPING,
    "variants.*": SETTINGS,
    "variants.*.*": VALUES,
    "remote": MAPPING,
    "remote.live": BOOL,
    "remote.accept": NAMES,
    "remote.max_calls": at_least(1) | NULL,
    "remote.max_cost": Kind("a finite number above 0", lambda value: is_number(value) and value > 0) | NULL,
    "remote.calibrate": BOOL,
    "remote.replay": BOOL,
    "remote.expire": TEXT | NULL,
    "remote.connections": at_least(1),
    "statistics": MAPPING,
    "statistics.resamples": Kind(
        "a whole number from 1 to 1000000", lambda value: is_whole(value) and 1 <= value <= 1_000_000
    ),
    "report": MAPPING,
    "report.examples": at_least(0),
    "report.figures": BOOL,
    "report.groups": NAMES,
    "report.printed": NAMES,
    "report.compare_with": TEXT | NULL,
    "report.style": one_of(("paper", "slides", "screen")),
    "columns": NAMES,
    "organisation": TEXT,
    "relationship": one_of(("first_party", "third_party", "collaborative", "other")),
    "paths": MAPPING,
    "paths.*": TEXT,
    "runtime": MAPPING,
    "runtime.device": TEXT,
    "runtime.devices": NULL
    | AUTO
    | list_of(at_least(0), "a list of numbers of CUDA devices such as [0,1], each once", once=True, some=True),
    "runtime.precision": one_of(PRECISIONS),
    "runtime.compile": BOOL,
    "runtime.workers": AUTO | at_least(0),
    "runtime.retry_failed": BOOL,
    "runtime.force_report": BOOL,
    "runtime.dry_run": BOOL,
    # Of the commands beside experiments.
    "device": TEXT,
    "model": BLOCK | NULL,
    "detector": BLOCK,
    "world": BLOCK,
    "impostors": BLOCK,
    "fars": list_of(RATE, "a list of rates above 0 and below 1 such as [0.1,0.01], each once", once=True, some=True),
    "pairs": TEXT | NULL,
    "where": MAPPING | NULL,
    "drawn_per_fold": at_least(1),
    "input": TEXT,
    "output": TEXT | NULL,  # null: the package's own folder, for commands that train
    "references": TEXT | NULL,
    "originals": TEXT | NULL,
    "keys": TEXT | NULL,
    "auxiliary": TEXT | NULL,
    "landmarks_file": TEXT | NULL,
    "soften_surrogates": BOOL,
    "way_back": BLOCK | NULL,
    "overwrite": BOOL,
    "force": BOOL,
    "format": one_of(("same", "png", "jpeg")),
    "metadata": one_of(("strip", "keep")),
    "faces": one_of(("main", "all")),
    "people": at_least(1),
    "photos": at_least(1),
    "repeats": at_least(1),
    "growth": at_least(2),
    "only": NAMES | NULL,
    "compiled": BOOL,
    "save": TEXT | NULL,
    "workers": at_least(1),
    "threads": at_least(1),
    "checkpoints": TEXT,
    "members": MAPPING,
    "members.*": MAPPING,
    "evaluation": BLOCK,
    "count": Kind("an even number of at least 4", lambda value: is_whole(value) and value >= 4 and value % 2 == 0),
    "rows": at_least(1),
    "max_references": at_least(1),
    "min_crop_px": at_least(1),
    "max_megapixels": Kind("a finite number above 0", lambda value: is_number(value) and value > 0),
}
"""Dotted setting to its kind; a star stands for any one name."""


def check_kinds(config: Mapping[str, Any]) -> None:
    """Hold the settings of a resolved config that are there against `KINDS`.

    Raises:
        ConfigError: one has a value of another kind, or none.
    """
    for key, kind in KINDS.items():
        for found, value in _values(config, key.split("."), ""):
            if value == "???":
                raise ConfigError(f"{found} is not set: {found}=...")
            if not kind.accepts(value):
                raise ConfigError(kind.refusal(found, value))


def _values(node: Any, steps: Sequence[str], prefix: str) -> Iterator[tuple[str, Any]]:
    """Dotted name and value of every setting that ``steps`` lead to."""
    if not isinstance(node, Mapping):
        return
    for name in list(node) if steps[0] == "*" else [steps[0]]:
        if name not in node:
            continue
        if len(steps) == 1:
            yield f"{prefix}{name}", node[name]
        else:
            yield from _values(node[name], steps[1:], f"{prefix}{name}.")
