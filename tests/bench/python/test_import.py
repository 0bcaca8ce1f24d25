"""Importing the package: it costs nothing, needs no Hydra, and has everything where an author looks for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

import cloakbench

WATCHED = ("torch", "hydra", "omegaconf", "numpy", "pandas", "PIL", "rich")


def loaded_after(code: str) -> set[str]:
    """Which of the watched packages a fresh Python has imported after some code."""
    script = f"import sys\n{code}\nprint(*(name for name in {WATCHED} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert loaded_after("import cloakbench; cloakbench.__version__; dir(cloakbench)") == set()


def test_an_author_of_a_method_needs_no_hydra() -> None:
    assert loaded_after("from cloakbench import Budget, PhotoBatch, ProtectContext, Protector") & {"hydra"} == set()


@pytest.mark.parametrize("name", cloakbench.__all__)
def test_everything_that_is_offered_is_there(name: str) -> None:
    found = getattr(cloakbench, name)
    assert name in dir(cloakbench)
    assert name in ("__version__", getattr(found, "__name__", ""))


def test_a_name_that_is_not_offered_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'cloakbench' has no attribute 'evalute'"):
        cloakbench.evalute  # noqa: B018
