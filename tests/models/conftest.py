"""Tests of models fetch from servers on localhost, whatever the machine forbids its programs."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    for switch in ("CLOAKBENCH_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(switch, raising=False)
