"""What a run took of a service is counted whatever is killed."""

from __future__ import annotations

import multiprocessing
import signal
import time
from pathlib import Path

import pytest
from emulators.fleet import CONF
from omegaconf import OmegaConf

from cloakbench.bench.engine.protocol import Judge
from cloakbench.bench.protocols.remote.spent import SpentOnService
from cloakbench.bench.services.building import build_service
from cloakbench.bench.services.spending import Spending
from cloakbench.bench.store.store import Store
from cloakbench.models.service_keys import ServiceKeys
from cloakbench.models.services import COMPARE, Connection, ServiceCard


@pytest.fixture
def card() -> ServiceCard:
    config = OmegaConf.load(CONF / "facepp.yaml")
    config.line.price_per_call = {COMPARE: 0.5}
    return build_service(OmegaConf.to_container(config), "facepp", Connection(ServiceKeys("k", "s"))).card  # type: ignore[arg-type]


def spent_at(folder: Path) -> SpentOnService:
    return SpentOnService(Store(folder), "run", Judge("facepp", {"service": "facepp"}))


def _asks_for_ever(folder: Path) -> None:
    spending = Spending("facepp", {}, None, None, note=spent_at(folder).note)
    with spending.on(COMPARE):
        for _ in range(3):
            spending.permit("compare")
    time.sleep(60)


def test_requests_of_a_session_that_was_killed_are_counted_once(tmp_path: Path, card: ServiceCard) -> None:
    process = multiprocessing.get_context("fork").Process(target=_asks_for_ever, args=(tmp_path,))
    process.start()
    while sum(path.stat().st_size for path in tmp_path.rglob("ledgers/*")) < len("request compare\n") * 3:
        time.sleep(0.005)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    spent = spent_at(tmp_path)
    assert spent.words() == ""
    spent.settle(card)
    for what in ("request search", "possibly_billed", "request compare", "retry"):
        spent.note(what)
    spent.settle(card)
    spent.settle(card)
    told = "5 requests (4 compare, 1 search), 1 of them again, 1 possibly billed twice; 2.00 at the configured prices"
    assert spent_at(tmp_path).words() == told
    assert list(tmp_path.rglob("ledgers/*")) == []
