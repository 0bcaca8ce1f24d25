"""Fixtures of the Python interface: an experiment of few faces in one call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cloakbench

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"

Evaluate = Callable[..., Any]


@pytest.fixture
def evaluate(tmp_path: Path, faces_cache: Path, report_left_out: None) -> Evaluate:
    """`cloakbench.evaluate` on few faces, with results in a folder of the test and the work done in this process."""
    sizes = {
        "dataset.identities": 3,
        "dataset.references_per_identity": 2,
        "dataset.probes_per_identity": 2,
        "dataset.distractors": 10,
        "dataset.auxiliary_identities": 2,
        "dataset.impostor_identities": 10,
        "statistics.resamples": 50,
        "report.examples": 0,
        "report.figures": False,
        "paths.cache": str(faces_cache),
    }
    few_metrics = {
        "protocols.identification.ks": [1],
        "protocols.verification.fars": [0.1],
        **dict.fromkeys(f"protocols.quality.image_metrics.{name}" for name in ("ms_ssim_w7", "psnr", "lpips")),
    }

    def call(*arguments: Any, settings: dict[str, Any] | None = None, **more: Any) -> cloakbench.Results:
        known = {"results": tmp_path / "results", "workers": 0, "config_dir": CONFIG_DIR, **more}
        metrics = {} if "protocols" in more else few_metrics
        return cloakbench.evaluate(*arguments, settings={**sizes, **metrics, **(settings or {})}, **known)

    return call
