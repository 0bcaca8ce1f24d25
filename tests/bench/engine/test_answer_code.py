"""The code that answers is in the key of an answer, whatever `inputs` says."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from cloakbench.bench.core.code_digests import forget_sources
from cloakbench.bench.protocols.identification.protocol import Identification
from cloakbench.bench.protocols.verification.protocol import Verification

PROTOCOL = """
from counting import Counting
from my_helper import twice


class Doubled(Counting):
    def respond(self, judge, condition, photos, worker):
        return twice(super().respond(judge, condition, photos, worker))
"""
SCORED = """
from counting import Counting


class Renamed(Counting):
    title = "Counted"
"""


def digest(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, **files: str) -> str:
    """Of the answers of the protocol ``name`` in a folder with these modules."""
    for module, text in files.items():
        (folder / f"{module}.py").write_text(text, encoding="utf-8")
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    forget_sources()
    found = getattr(importlib.import_module("my_answers"), name)().answer_code
    forget_sources()
    return found


def test_an_edit_of_what_answers_is_another_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = "def twice(answer):\n    return answer\n"
    first = digest(tmp_path, monkeypatch, "Doubled", my_answers=PROTOCOL, my_helper=helper)
    assert first
    assert digest(tmp_path, monkeypatch, "Doubled", my_answers=f'"""Said."""\n{PROTOCOL}', my_helper=helper) == first
    changed = helper.replace("return answer", "return (answer, answer)")
    assert digest(tmp_path, monkeypatch, "Doubled", my_answers=PROTOCOL, my_helper=changed) != first
    edited = PROTOCOL.replace("twice(super()", "twice(2 * super()")
    assert digest(tmp_path, monkeypatch, "Doubled", my_answers=edited, my_helper=helper) != first


def test_a_subclass_that_answers_as_its_base_shares_the_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from counting import Counting

    assert digest(tmp_path, monkeypatch, "Renamed", my_answers=SCORED) == Counting().answer_code


def test_protocols_about_embeddings_share_them_and_a_subclass_that_asks_otherwise_does_not() -> None:
    assert Identification().answer_code == Verification().answer_code == ""

    class Otherwise(Identification):
        def respond(self, *args, **more):  # type: ignore[no-untyped-def]
            return super().respond(*args, **more)

    assert Otherwise().answer_code
