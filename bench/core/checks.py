"""Check results: what a conformance suite says, one per check, in one shape for methods and models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class CheckResult:
    """One check: whether it held, what was seen, or why it does not apply."""

    name: str
    passed: bool
    detail: str = ""
    skipped: bool = False


class NotApplicableError(Exception):
    """Raised inside a check that has nothing to check; the message says why."""


def run_check(name: str, check: Callable[[], str]) -> CheckResult:
    """Run one check: it returns what was seen, and raises where that is not what it should be."""
    try:
        return CheckResult(name, True, check())
    except NotApplicableError as reason:
        return CheckResult(name, True, str(reason), skipped=True)
    except Exception as problem:  # what is checked may raise anything, and that is a result
        return CheckResult(name, False, f"{type(problem).__name__}: {problem}")


def require(condition: bool, message: str) -> None:
    """Fail the check that calls this, with ``message``, unless ``condition`` holds."""
    if not condition:
        raise AssertionError(message)
