"""The code digest follows what the code does, not how it is written."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cloakbench.datasets import provenance

SOURCE = '"""Doc."""\n\n\ndef double(x):\n    """Twice."""\n    return x * 2  # exact\n'


def digest_of(source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (folder / "specimen_module.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    provenance._read.cache_clear()
    sys.modules.pop("specimen_module", None)
    return provenance.code_digest("specimen_module")


@pytest.mark.parametrize(
    ("edit", "same"),
    [
        (("# exact", "# still exact"), True),
        (("Twice.", "Two times."), True),
        (("x * 2", "x  *  2"), True),
        (("x * 2", "x * 3"), False),
        (("double", "twice"), False),
    ],
)
def test_edits(edit: tuple[str, str], same: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest_of(SOURCE, tmp_path, monkeypatch)
    assert (digest_of(SOURCE.replace(*edit), tmp_path, monkeypatch) == before) is same


def test_imported_project_modules_count() -> None:
    _, imported = provenance._read("cloakbench.datasets.synthetic.album")
    assert "cloakbench.datasets.synthetic.render" in imported
    assert "cloakbench.datasets.randomness" in imported
    assert "cloakbench.datasets.synthetic.nuisance" in imported


def test_unknown_modules_are_refused() -> None:
    with pytest.raises(ModuleNotFoundError):
        provenance.code_digest("cloakbench_has_no_such_module")


def test_code_that_only_brings_files_can_be_left_out() -> None:
    whole = provenance.code_digest("cloakbench.models.weight_file")
    kept = provenance.code_digest("cloakbench.models.weight_file", without={"cloakbench.models.download"})
    assert kept != whole
    assert kept == provenance.code_digest(
        "cloakbench.models.weight_file", without={"cloakbench.models.download", "cloakbench.models.transfer"}
    )
