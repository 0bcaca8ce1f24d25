"""Where the optional pack of real faces and published weights lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_pack() -> Path:
    """The folder of real faces and weights; skips when there is none."""
    default = Path(__file__).resolve().parents[2] / "shared" / "real"
    path = Path(os.environ.get("CLOAKBENCH_REAL", default))
    if not (path / "MANIFEST.json").exists():
        pytest.skip("no pack of real faces; set CLOAKBENCH_REAL to its folder")
    return path
