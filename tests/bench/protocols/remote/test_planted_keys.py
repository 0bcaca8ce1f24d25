"""Keys that a run was given are in nothing that it leaves: files, archives, what it said, tracebacks."""

from __future__ import annotations

import base64
import io
import logging
import traceback
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pandas as pd
import pytest
from emulators.facepp import FaceppEmulator
from emulators.remote_runs import CONFIG_DIR, Words

from cloakbench.bench.cli.main import main
from cloakbench.models.mlaas import http_service


def contents(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """A file as it lies, and what is packed in it."""
    yield name, content
    if name.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.namelist():
                yield from contents(f"{name}/{member}", archive.read(member))
    if name.endswith(".parquet"):
        frame = pd.read_parquet(io.BytesIO(content))
        yield f"{name} as text", frame.to_csv().encode()


def test_keys_of_a_file_are_in_nothing_that_whole_runs_leave(
    emulator: FaceppEmulator,
    words: Words,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(http_service, "PAUSE_SECONDS", 0.01)
    keys, folder = tmp_path_factory.mktemp("keys") / "keys", tmp_path / "results"
    emulator.echoes = True  # as no service should
    emulator.faults = ["error500", "cut", "plain", "throttle"]
    for name in ("KEY", "SECRET"):
        monkeypatch.delenv(f"CLOAKBENCH_FACEPP_{name}")
    monkeypatch.setenv("CLOAKBENCH_KEYS", str(keys))
    monkeypatch.setenv("CLOAKBENCH_DEBUG", "1")
    asked = [*words(), "protocols.remote.photos_each=1", "--config-dir", str(CONFIG_DIR)]
    said: list[str] = []
    wrong = "PLANTED-WRONG-SECRET"
    for secret, more in ((wrong, []), (emulator.secret, []), (emulator.secret, [f"description=by {emulator.secret}"])):
        keys.write_text(f"CLOAKBENCH_FACEPP_KEY={emulator.key}\nCLOAKBENCH_FACEPP_SECRET={secret}\n")
        keys.chmod(0o600)
        try:
            main([*asked, *more])
        except Exception:
            said.append(traceback.format_exc())
    assert emulator.calls["compare"] > 12 and len(said) == 1 and "holds a key of a service" in said[0]
    kept = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    captured = capfd.readouterr()
    texts = {"stdout": captured.out, "stderr": captured.err, "log": caplog.text, "tracebacks": "".join(said)}
    found = [pair for name, content in kept.items() for pair in contents(name, content)]
    found += [(name, text.encode()) for name, text in texts.items()] + [(name, name.encode()) for name in kept]
    kinds = {Path(name).suffix for name, _ in found}
    assert kinds >= {".zip", ".parquet", ".json", ".md", ".tex", ".csv", ".log", ".yaml"}
    assert any("journal" in name for name in kept)
    for planted in (emulator.key, emulator.secret, wrong):
        ways = {planted, quote(planted, safe=""), quote_plus(planted), base64.b64encode(planted.encode()).decode()}
        for way in ways:
            assert [name for name, content in found if way.encode() in content] == []
