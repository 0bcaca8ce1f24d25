"""The service of `docs/services.md` is written to files as it stands there, and asked."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from emulators.fleet import connected, face
from emulators.server import Asked, Emulator, Said
from hydra.utils import instantiate
from PIL import Image

from cloakbench.bench.config.compose import compose_config, resolved
from cloakbench.bench.services.building import build_service
from cloakbench.models.services import MALFORMED, NO_FACE, NOT_OFFERED, REFUSED, RemoteService

TEXT = (Path(__file__).parents[1] / "docs" / "services.md").read_text("utf-8")
BLOCK = re.compile(r"^```(python|yaml)\n# (\S+)\n(.*?)^```$", re.M | re.S)


class TwinsEmulator(Emulator):
    """Answers as the document says."""

    said: Any = None

    def action(self, asked: Asked) -> str:
        return asked.path

    def vendor_fault(self, fault: str) -> Said:
        return Said({"error": {"throttle": "slow"}[fault]}, 429)

    def respond(self, asked: Asked) -> Said:
        if asked.headers.get("x-key") != self.key:
            return Said({"error": "key"}, 401)
        return Said(self.said or {"faces": len(asked.json()["pictures"]), "distance": 0.25, "model": "7"})


@pytest.fixture
def twins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[RemoteService, TwinsEmulator]]:
    files = {name: content for _, name, content in BLOCK.findall(TEXT)}
    assert set(files) == {"my_service.py", "my_conf/service/twins.yaml", "mixture.py"}
    (tmp_path / "my_service.py").write_text(files["my_service.py"])
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    config = yaml.safe_load(files["my_conf/service/twins.yaml"])
    emulator = TwinsEmulator()
    with emulator.running() as url:
        config["line"]["base_url"] = url
        yield build_service(config, "twins", connected(emulator)), emulator
    sys.modules.pop("my_service", None)


def test_the_documented_service_compares_and_fails_as_all_do(twins: tuple[RemoteService, TwinsEmulator]) -> None:
    service, emulator = twins
    emulator.faults = ["throttle"]
    answer = service.compare(face(1), face(2))
    assert (answer.status, answer.score, answer.model_version, answer.retries) == ("ok", 0.75, "7", 1)
    for said, status in (({"faces": 1}, NO_FACE), ({"faces": 2, "distance": 9, "model": "7"}, MALFORMED)):
        emulator.said = said
        assert service.compare(face(1), face(2)).status == status
    emulator.key = "ANOTHER-KEY"
    assert service.compare(face(1), face(2)).status == REFUSED


def test_the_documented_mixture_has_the_labels_of_both_data_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ramp = np.tile(np.arange(112, dtype=np.uint8), (112, 1))
    named = [f"utkface/UTKFace/{10 * number}_1_0_{number}.jpg" for number in range(1, 4)]
    named += [f"celeba/img_align_celeba/00000{number}.jpg" for number in range(1, 4)]
    for turn, name in enumerate(named):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(ramp + 20 * np.uint8(turn)).convert("RGB").save(tmp_path / name)
    names = ["Male", "Smiling", *(f"other_{number}" for number in range(38))]
    lines = [
        f"00000{number}.jpg {'1 ' * (number == 1) or '-1 '}{'1 ' * (number > 1) or '-1 '}{'-1 ' * 38}"
        for number in (1, 2, 3)
    ]
    (tmp_path / "celeba/list_attr_celeba.txt").write_text("\n".join(["3", " ".join(names), *lines]) + "\n")
    points = " ".join(f"{side}_{axis}" for side in ("a", "b", "c", "d", "e") for axis in "xy")
    rows = [f"00000{number}.jpg {' 50' * 10}" for number in (1, 2, 3)]
    (tmp_path / "celeba/list_landmarks_align_celeba.txt").write_text("\n".join(["3", points, *rows]) + "\n")
    monkeypatch.setenv("CLOAKBENCH_DATA", str(tmp_path))
    monkeypatch.setenv("EACH", "2")
    [source] = [content for _, name, content in BLOCK.findall(TEXT) if name == "mixture.py"]
    exec(compile(source, "mixture.py", "exec"), {})
    words = [
        "experiment=smoke",
        "dataset=csv",
        f"dataset.root={tmp_path}",
        "dataset.aligned=true",
        "dataset.references_per_identity=0",
    ]
    words += ["dataset.layout.attributes=[gender,age,expression]", f"dataset.cache={tmp_path}", "dataset.workers=0"]
    faces = instantiate(resolved(compose_config(words).dataset)).faces("probe")
    assert len(faces) == 4 and len(set(faces.identity)) == 4
    labels = {name: column.tolist() for name, column in faces.attributes.items()}
    assert labels["gender"][:2] == [1, 1] and labels["age"][2:] == [-1, -1] and labels["expression"][:2] == [-1, -1]
    assert set(labels["age"][:2]) <= {10, 20, 30} and set(labels["expression"][2:]) <= {-1, 1}


def test_what_it_does_not_offer_is_said_without_a_call(twins: tuple[RemoteService, TwinsEmulator]) -> None:
    service, emulator = twins
    answers = [service.attributes(face(1)), service.search("cb_1", face(1), 1), service.found("cb_1")]
    answers += [service.enrol("cb_1", {"p1": face(1)}), service.forget("cb_1")]
    assert {one.status for one in answers} == {NOT_OFFERED} and service.leftovers("cb_") == ()
    assert emulator.total == 0
