"""``cloakbench list models`` where no published file is at hand: it says what to get, and gets nothing."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cloakbench.bench.cli.list import main

CONF = Path(__file__).parents[3] / "conf"


def test_missing_weights_are_named_with_their_page_and_not_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a list opens no connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("CLOAKBENCH_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "1000")
    assert main(["models"]) == 0
    text = capsys.readouterr().out
    lines = {line.split()[0].rstrip(":"): line for line in reversed(text.splitlines()) if line.strip()}
    assert "ready" in lines["arcface_ir"]
    assert lines["buffalo_l"].split()[1:] == ["ir", "unknown", "not", "yet"]
    assert lines["frbench"].endswith("a template")
    flat = " ".join(text.split())
    fetched = "w600k_r50.onnx is fetched on first use from https://github.com/deepinsight/insightface"
    by_hand = "ir152.pth is to be put there by hand; see https://github.com/TencentYoutuResearch/Adv-Makeup"
    assert fetched in flat
    assert by_hand in flat
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [[], ["methods"], ["protocols"], ["transforms"]])
def test_lists_fit_80_columns_and_keep_names_whole(words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    if words == ["methods"]:
        first = {line.split()[0] for line in lines if line.strip()}
        assert {path.stem for path in (CONF / "method").glob("*.yaml")} <= first
        assert any(line.startswith("opom_convex_hull_dfanet_m ") for line in lines)


def test_methods_are_listed_again_without_building_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor are they composed, and torch stays where it is; what cannot be built here is tried again."""
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["methods"]) == 0
    first = capsys.readouterr().out
    code = (
        "import sys; from cloakbench.bench.cli import list; list.main(['methods']); assert 'torch' not in sys.modules"
    )
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert again.stdout == first
    monkeypatch.setenv("CLOAKBENCH_CACHE", str(tmp_path))
    (tmp_path / "listed_methods.json").write_bytes(b"damaged")
    monkeypatch.setattr("cloakbench.bench.cli.list.group_options", lambda *_: ["fgsm", "pgd"])
    monkeypatch.setattr("cloakbench.bench.plan.plan.make_protector", lambda *_: None)
    assert main(["methods"]) == 0
    assert "cannot be used" in capsys.readouterr().out
    assert (tmp_path / "listed_methods.json").read_bytes() == b"damaged"
