"""One-line errors without secrets: those that end a call, and the reasons of failures that become rows."""

from __future__ import annotations

from cloakbench.bench.core.ranges import SettingError
from cloakbench.bench.core.redaction import without_secrets


class ConfigError(ValueError):
    """The experiment asks for something that cannot be; the message says what to change."""


def cause_of(problem: BaseException) -> str:
    """First line of what a constructor said, which Hydra wraps in an error of its own; its type if it said nothing."""
    cause = problem.__cause__ or problem
    return _first_line(cause) or type(cause).__name__


def reason_of(problem: BaseException) -> str:
    """Type and first line: ``ValueError: too few photos``."""
    return f"{type(problem).__name__}: {_first_line(problem)}"


def one_line(problem: BaseException) -> str:
    """An error that ends a command, as the user reads it."""
    if isinstance(problem, MemoryError):
        return "out of memory: take fewer workers (runtime.workers=1) or smaller chunks (plan.chunk_identities=5)"
    if isinstance(problem, OSError) and problem.strerror and problem.filename is None:
        return problem.strerror.strip()  # without the number in front
    lines = [line.strip() for line in str(problem).splitlines()]
    text = " ".join(line for line in lines if line and not line.startswith(("full_key:", "object_type=")))
    if isinstance(problem, ValueError | OSError | RuntimeError) or type(problem).__module__.startswith(
        ("omega", "hydra")
    ):
        return text or type(problem).__name__
    return f"{type(problem).__name__}: {text} (not foreseen: CLOAKBENCH_DEBUG=1 shows where)"


def refusal_of(problem: BaseException, where: str) -> str:
    """Why a part could not be built, with the setting in the user's spelling: ``method.steps is 0: it must be ...``.

    Args:
        problem: what Hydra raised.
        where: dotted name of the part.
    """
    cause = problem.__cause__ or problem
    if isinstance(cause, SettingError):
        return f"{where}{_place_inside(problem)}.{cause}"
    said = cause_of(problem)
    return said if said.startswith(f"{where}.") else f"{where}: {said}"


def _place_inside(problem: BaseException) -> str:
    """``.objective`` for a part inside the part, as Hydra names it in the last line of its errors."""
    _, found, place = str(problem).rpartition("\nfull_key: ")
    return f".{place}" if found else ""


def _first_line(problem: BaseException) -> str:
    return without_secrets(next(iter(str(problem).strip().splitlines()), ""))
