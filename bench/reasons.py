"""What went wrong, in one line and without secrets: the form of errors that end a call, and of failures that become
rows."""

from __future__ import annotations

from cloakbench.datasets.redaction import without_secrets


def cause_of(problem: BaseException) -> str:
    """First line of what a constructor said, which Hydra wraps in an error of its own; its type if it said nothing."""
    cause = problem.__cause__ or problem
    return _first_line(cause) or type(cause).__name__


def reason_of(problem: BaseException) -> str:
    """Type and first line: ``ValueError: too few photos``."""
    return f"{type(problem).__name__}: {_first_line(problem)}"


def _first_line(problem: BaseException) -> str:
    return without_secrets(next(iter(str(problem).strip().splitlines()), ""))
