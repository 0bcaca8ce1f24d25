"""One line for every problem, also for those that say nothing."""

from __future__ import annotations

import pytest
from hydra.utils import instantiate

from cloakbench.bench.core.errors import ConfigError, cause_of, reason_of
from cloakbench.bench.plan.plan import make_protector


class SaysNothing:
    def __init__(self) -> None:
        raise AssertionError


def test_the_constructor_speaks_and_not_the_wrapper() -> None:
    with pytest.raises(Exception, match="Error in call to target") as caught:
        instantiate({"_target_": "fractions.Fraction", "numerator": 1, "denominator": 0})
    assert cause_of(caught.value) == "Fraction(1, 0)"


def test_first_lines_and_types() -> None:
    assert cause_of(ValueError("too few\nphotos")) == "too few"
    assert reason_of(ValueError("too few\nphotos")) == "ValueError: too few"
    assert reason_of(ValueError("\n  too few")) == "ValueError: too few"


def test_a_method_that_raises_without_a_word_is_still_one_line() -> None:
    assert cause_of(AssertionError()) == "AssertionError"
    with pytest.raises(ConfigError, match=r"methods\.silent: AssertionError"):
        make_protector({"_target_": f"{__name__}.SaysNothing"}, "silent")
