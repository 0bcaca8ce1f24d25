"""Where the optional pack of real faces and published weights lies: ``CLOAKBENCH_REAL``, or ``shared/real`` beside the
checkout. Tests that need it skip with this reason where it is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PACK = Path(os.environ.get("CLOAKBENCH_REAL") or Path(__file__).resolve().parents[3] / "shared" / "real")

requires_pack = pytest.mark.skipif(
    not (PACK / "MANIFEST.json").is_file(), reason=f"no pack of real faces and weights at {PACK}; see CLOAKBENCH_REAL"
)
