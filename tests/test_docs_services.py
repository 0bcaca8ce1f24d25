"""The service of `docs/services.md` is written to files as it stands there, and asked."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from emulators.fleet import connected, face
from emulators.server import Asked, Emulator, Said

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
    assert set(files) == {"my_service.py", "my_conf/service/twins.yaml"}
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


def test_what_it_does_not_offer_is_said_without_a_call(twins: tuple[RemoteService, TwinsEmulator]) -> None:
    service, emulator = twins
    answers = [service.attributes(face(1)), service.search("cb_1", face(1), 1), service.found("cb_1")]
    answers += [service.enrol("cb_1", {"p1": face(1)}), service.forget("cb_1")]
    assert {one.status for one in answers} == {NOT_OFFERED} and service.leftovers("cb_") == ()
    assert emulator.total == 0
