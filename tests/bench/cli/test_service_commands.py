"""``serve``, ``service check`` and ``service clean``: what they say, what they leave, and how they end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from emulators.azure import AzureEmulator
from emulators.facepp import FaceppEmulator
from emulators.fleet import connected, face, service_of
from thumbnail_faces import looking, thumbnails

from cloakbench.bench.cli.main import main
from cloakbench.bench.services.galleries import Galleries, GalleryPlan
from cloakbench.bench.services.local.server import start
from cloakbench.bench.services.places import Places

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"
KEY = FaceppEmulator.key
FEW_FACES = (
    *("dataset.identities=2", "dataset.references_per_identity=0", "dataset.probes_per_identity=2"),
    *("dataset.distractors=0", "dataset.auxiliary_identities=0", "dataset.auxiliary_images=0"),
)
NO_IMPOSTORS = ("dataset.impostor_identities=0", "dataset.impostor_images=0")


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaceppEmulator]:
    emulator = FaceppEmulator()
    monkeypatch.setenv("CLOAKBENCH_FACEPP_KEY", emulator.key)
    monkeypatch.setenv("CLOAKBENCH_FACEPP_SECRET", emulator.secret)
    with emulator.running():
        yield emulator


@pytest.fixture
def places(tmp_path: Path, faces_cache: Path) -> list[str]:
    return [f"paths.results={tmp_path}/results", f"paths.cache={faces_cache}"]


def at(emulator: Any, name: str = "facepp") -> list[str]:
    return [f"service={name}", f"service.line.base_url={emulator.url}", "service.line.calls_per_second=1000"]


def test_check_asks_three_questions_and_says_what_came(
    emulator: FaceppEmulator, places: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["service", "check", *at(emulator), *places, *FEW_FACES, *NO_IMPOSTORS, "remote.live=true"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert emulator.calls == {"compare": 2, "detect": 1}
    for told in ("one person: ok: score", "two people: ok: score", "62.327 at 0.001", "attributes: ok: gender"):
        assert told in shown
    assert "3 requests; pictures: crops enlarged to 448 px, PNG" in shown
    emulator.faults = ["denied"]
    assert main(words) == 1
    assert "one person: refused: AUTHORIZATION_ERROR:Denied by Admin" in capsys.readouterr().out


def test_check_of_a_service_elsewhere_needs_live_and_keys_before_any_work(
    places: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLOAKBENCH_FACEPP_KEY", raising=False)
    assert main(["service", "check", "service=facepp", *places]) == 1
    said = capsys.readouterr()
    assert "3 photos of synthetic go to api-us.faceplusplus.com" in said.out
    assert "error: service facepp: pictures leave this machine with remote.live=true only" in said.err
    assert main(["service", "check", "service=facepp", "remote.live=true", *places]) == 1
    assert "there is no key; set CLOAKBENCH_FACEPP_KEY" in capsys.readouterr().err


def test_check_of_the_local_service_needs_neither(places: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with start(thumbnails(), looking()) as server:
        words = ["service", "check", *at(server, "local"), f"service.api_version={server.service.api_version}"]
        assert main([*words, *places, *FEW_FACES, *NO_IMPOSTORS]) == 0
    assert "model thumbnail 000000000000 looks 111111111111" in capsys.readouterr().out


def _leaves_a_gallery(emulator: Any, name: str, store: Path) -> None:
    """What a run does that is killed in the middle: in a process of its own, which ends without tidying up."""
    child = os.fork()
    if child == 0:
        service = service_of(name, emulator, connected(emulator))
        plan = GalleryPlan({f"photo {number}": face(number) for number in range(3)})
        Galleries(service, Places(store).galleries(name), "killed run").filled(plan)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.mark.parametrize("with_notes", [True, False])
def test_clean_deletes_what_a_killed_run_left(
    emulator: FaceppEmulator,
    places: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    with_notes: bool,
) -> None:
    store = tmp_path / "results" / "store" if with_notes else tmp_path / "another store"
    _leaves_a_gallery(emulator, "facepp", store)
    emulator.sets["somebody_elses"] = []
    [left] = [name for name in emulator.sets if name.startswith("cb_")]
    assert main(["service", "clean", *at(emulator), *places]) == 0
    shown = capsys.readouterr().out
    assert f"deleted: {left}" in shown and "Face++: 1 galleries deleted" in shown
    assert list(emulator.sets) == ["somebody_elses"]
    assert main(["service", "clean", *at(emulator), *places]) == 0
    assert "Face++: 0 galleries deleted" in capsys.readouterr().out


def test_clean_says_what_stayed(
    emulator: FaceppEmulator, places: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _leaves_a_gallery(emulator, "facepp", tmp_path / "results" / "store")
    emulator.faults = ["faceset/delete:denied"]
    assert main(["service", "clean", *at(emulator), *places]) == 1
    assert "0 galleries deleted, 1 are left" in capsys.readouterr().out
    emulator.faults = ["faceset/getfacesets:denied"]
    assert main(["service", "clean", *at(emulator), *places]) == 1
    assert "error: service facepp: AUTHORIZATION_ERROR:Denied by Admin" in capsys.readouterr().err


def test_a_service_with_one_key_and_no_attributes_is_checked_too(
    places: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator = AzureEmulator()
    monkeypatch.setenv("CLOAKBENCH_AZURE_KEY", emulator.key)
    with emulator.running():
        words = ["service", "check", *at(emulator, "azure"), *places, *FEW_FACES, *NO_IMPOSTORS, "remote.live=true"]
        assert main(words) == 0
    assert "one photo: ok: score 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["service"], "say what to do: cloakbench service check|clean service=NAME"),
        (["service", "chek", "service=facepp"], "service=NAME; did you mean 'check'?"),
        (["service", "check"], "say which service: cloakbench service check service=NAME"),
        (["service", "clean", "service=facep"], "facep"),
        (["service", "check", "service=azure"], "set service.line.base_url=..."),
        (["service", "check", "service=facepp", f"service.key={KEY}"], "service.key on the command line holds a key"),
        (["serve"], "say which recogniser: cloakbench serve model=NAME"),
        (["serve", "model=cosface_ir", "behaviour.score_digits=9"], "behaviour.score_digits is 9: it must be a whole"),
        (["serve", "model=cosface_ir", "port=70000"], "port is 70000: it must be a whole number from 0"),
        (["serve", "model=cosface_ir", "attribute_model=onnx"], "attribute_model.card.family is not set"),
        (["serve", "model=cosface_ir", "platform=x"], "platform"),
    ],
)
def test_what_cannot_be_is_one_line(
    words: list[str], line: str, places: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["dataset=synthetic_small", *FEW_FACES, *NO_IMPOSTORS] if words[0] == "serve" else []
    assert main([*words, *places, *more]) == 1
    said = capsys.readouterr()
    assert line in said.err and said.err.startswith("error: ") and said.err.count("\n") == 1
    assert KEY not in said.err


def test_serve_prints_where_it_listens_is_asked_and_ends_cleanly(places: list[str]) -> None:
    words = ["serve", "model=tiny1", "dataset=synthetic_small", *FEW_FACES, "dataset.impostor_identities=12"]
    words += ["fars=[0.1]", "statistics.resamples=10", *places]
    command = [sys.executable, "-m", "cloakbench.bench.cli.main", *words, "--config-dir", str(CONFIG_DIR)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        first = process.stdout.readline()
        found = re.fullmatch(r"local service: (http://127\.0\.0\.1:\d+) \(Ctrl-C stops it\)\n", first)
        assert found, first + process.stderr.read()
        told = [process.stdout.readline() for _ in range(3)]
        version = re.search(r"services\.local\.api_version=(1-[0-9a-f]{12})", told[2])
        assert (
            told[0].startswith("networks: tiny1") and re.search(r"^thresholds: [0-9.]+ at 0\.1$", told[1]) and version
        )
        url = found[1]
        asked = ["service", "check", "service=local", f"service.line.base_url={url}", *places]
        asked += [f"service.api_version={version[1]}", *FEW_FACES, *NO_IMPOSTORS]
        assert main(asked) == 1  # attributes are not offered
        busy = ["serve", "model=tiny1", f"port={url.rpartition(':')[2]}", "--config-dir", str(CONFIG_DIR), *places]
        assert main([*busy, "dataset=synthetic_small", *FEW_FACES, *NO_IMPOSTORS]) == 1
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=20)
    assert process.returncode == 0 and "Stopped after 3 requests." in rest and errors == ""


PLANTED = "PLANTED-KEY-0123456789abcdef"


@pytest.mark.parametrize(
    "words",
    [
        ["experiment=smoke", f"+services.facepp.key={PLANTED}", "runtime.dry_run=true"],
        ["list", "services", f"service.secret={PLANTED}"],
        ["nonsense", f"services.facepp.token={PLANTED}"],
        [f"--services.facepp.key={PLANTED}"],
        ["report", f"description={PLANTED}"],
    ],
)
def test_a_key_on_any_command_line_is_one_line_before_anything_else(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOAKBENCH_FACEPP_SECRET", PLANTED)
    assert main(words) == 1
    said = capsys.readouterr()
    assert "on the command line holds a key of a service" in said.err and said.err.count("\n") == 1
    assert PLANTED not in said.err + said.out


@pytest.mark.parametrize("planted", [f"key: {PLANTED}", f"title: asked with {PLANTED}"])
def test_a_key_in_any_yaml_is_one_line_and_is_kept_nowhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, planted: str
) -> None:
    side = tmp_path / "side"
    monkeypatch.setenv("CLOAKBENCH_CACHE", str(side))
    monkeypatch.setenv("CLOAKBENCH_MINE_KEY", PLANTED)
    (tmp_path / "conf" / "service").mkdir(parents=True)
    text = f"# Mine\ndefaults: [facepp, _self_]\nname: mine\n{planted}\n"
    (tmp_path / "conf" / "service" / "mine.yaml").write_text(text)
    for words in (["service", "check", "service=mine"], ["service", "clean", "service=mine", "--cfg", "job"]):
        assert main([*words, "--config-dir", str(tmp_path / "conf"), f"paths.results={tmp_path}/results"]) == 1
        said = capsys.readouterr()
        assert "in the config holds a key of a service" in said.err and said.err.count("\n") == 1
        assert PLANTED not in said.err + said.out
    kept = [path for folder in (side, tmp_path / "results") for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in kept if PLANTED.encode() in path.read_bytes()]
