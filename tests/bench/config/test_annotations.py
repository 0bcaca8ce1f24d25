"""Settings of a part of somebody's package are held against its annotations, as ours are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import pytest

from cloakbench.bench.config.build import build
from cloakbench.bench.config.checks.annotations import check_part, kind_of
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.ranges import SettingError, whole


class Colour(Enum):
    RED = 1


class Inner:
    def __init__(self, depth: int) -> None:
        whole("depth", depth)


class Part:
    """A method of another package."""

    def __init__(
        self,
        epsilon_255,  # type: ignore[no-untyped-def]
        count: int,
        inner: Inner | None = None,
        many: Sequence[Inner] = (),
        anything=None,  # type: ignore[no-untyped-def]
    ) -> None:
        self.count = count


def open_ended(count: int, **others: Any) -> dict[str, Any]:
    return {"count": count, **others}


def only_for_checkers(count: Nowhere) -> int:  # type: ignore[name-defined]  # noqa: F821
    return 1


@pytest.mark.parametrize(
    ("annotation", "good", "bad"),
    [
        (int, [0, -3], [True, 2.0, "2", None, 2**70, [1]]),
        (float, [0, 0.5], [True, float("nan"), float("inf"), "0.5", None]),
        (bool, [True, False], [0, 1, "true", None]),
        (str, ["", "x"], [3, True, None, ["x"]]),
        (str | Path | None, ["x", None], [3, ["x"]]),
        (Optional[int], [3, None], ["x"]),  # noqa: UP045 (users write it)
        (int | Literal["auto"], [3, "auto"], ["automatic", True]),
        (Literal[1, "a", None], [1, "a", None], [True, 1.0, "b"]),
        (Annotated[int, "a count"], [1], ["x"]),
        (Sequence[int], [[], [1, 2]], [[1.5], "12", 3, [True]]),
        (Iterable[float], [[0.1]], [0.1, "0.1", ["x"]]),
        (list, [[1, "x"]], ["x"]),
        (tuple[int, int], [[1, 2]], [[1], [1, 2, 3], ["a", 1]]),
        (tuple[float, ...], [[], [1, 2.5]], [["a"], 1]),
        (float | tuple[float, float], [1.0, [1, 2]], [[1], "x"]),
        (Mapping[str, int], [{}, {"a": 1}], [{"a": "x"}, [1], 3]),
        (dict[str, Any], [{"a": object()}], [[1]]),
        (Inner, [{"_target_": "x"}], ["x", {}, 3, None]),
        (Callable[..., Inner], [{"_target_": "x"}], ["x", 3]),
        (Sequence[Sequence[int]], [[[1], [2, 3]]], [[1], [["a"]]]),
    ],
)
def test_an_annotation_says_what_a_value_must_be(annotation: Any, good: list[Any], bad: list[Any]) -> None:
    kind = kind_of(annotation)
    assert kind is not None
    assert [value for value in good if not kind.accepts(value)] == []
    assert [value for value in bad if kind.accepts(value)] == []


@pytest.mark.parametrize("annotation", [Any, object, Colour, int | Any, complex, "a word"])
def test_what_says_nothing_of_plain_values_takes_anything(annotation: Any) -> None:
    assert kind_of(annotation) is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"epsilon_255": "8/255", "count": 1}, "method.epsilon_255 is 8/255: it must be a number from 0 to 255"),
        ({"epsilon_255": 8, "count": 1.5}, "method.count is 1.5: it must be a whole number"),
        ({"epsilon_255": 8, "count": "???"}, "method.count is not set: method.count=..."),
        ({"epsilon_255": 8, "count": 1, "cuont": 2}, "method has no setting 'cuont'; it has: epsilon_255, count"),
        (
            {"epsilon_255": 8, "count": 1, "inner": {"_target_": f"{__name__}.Inner", "depth": "x"}},
            "method.inner.depth",
        ),
        ({"epsilon_255": 8, "count": 1, "inner": {"_target_": f"{__name__}.Inner", "depth": 0}}, "method.inner.depth"),
        ({"epsilon_255": 8, "count": 1, "many": [{"_target_": f"{__name__}.Inner", "depth": "x"}]}, "method.many.0.d"),
    ],
)
def test_a_part_of_another_package_is_held_against_its_annotations(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build({"_target_": f"{__name__}.Part", **settings}, "method")
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_looked_into_is_left_to_its_builder() -> None:
    check_part({"_target_": f"{__name__}.open_ended", "count": 1, "more": object()}, "method")
    check_part({"_target_": f"{__name__}.only_for_checkers", "count": "anything"}, "method")
    check_part({"_target_": "no_such_package.Method", "count": 1}, "method")
    check_part({"_target_": f"{__name__}.Part", "epsilon_255": None, "count": 1, "anything": [{}]}, "method")


def test_a_refusal_survives_a_trip_between_processes() -> None:
    import pickle

    problem = pickle.loads(pickle.dumps(SettingError("steps", None, "a number")))
    assert str(problem) == "steps is null: it must be a number"
