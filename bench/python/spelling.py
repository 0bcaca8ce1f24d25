"""Spelling of messages: what one says of words on a command line, in the words of a Python call."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from cloakbench.bench.core.errors import ConfigError

_SPELLINGS = (
    (re.compile(r"'~(\w+)\.(\w+)'"), r"\1 without \2"),
    (re.compile(r"\+protocol@protocols\.NAME=NAME"), "protocols=[NAME]"),
    (re.compile(r"\bmodel@(surrogate|target)=NAME"), r"\1s=NAME"),
    (re.compile(r"\bmethod=NAME"), "methods=NAME"),
    (re.compile(r"(?<![\w.])epsilons_255\b"), "budgets_255"),
    (re.compile(r"(?<![\w/?&.@~'])([a-z_]\w*(?:\.\w+)+)=([^\s,;:()]+)"), r'settings={"\1": \2}'),
)


def in_python(text: str) -> str:
    """A message of the command line as somebody needs it who called `cloakbench.bench.python.experiments.evaluate`."""
    for pattern, spelled in _SPELLINGS:
        text = pattern.sub(spelled, text)
    return text


@contextmanager
def spelled_in_python() -> Iterator[None]:
    """While we work: a refused setting is told in the words of a Python call."""
    try:
        yield
    except ConfigError as problem:
        problem.args = (in_python(str(problem)),)
        raise
