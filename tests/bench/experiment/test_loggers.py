"""Loggers: the CSV file has a line per unit, and Weights & Biases works offline."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.experiment.run import run

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"


def test_wandb_offline_writes_its_files_into_the_run_and_the_csv_logger_has_a_line_per_unit(
    small_overrides: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "wandb-cache"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb-config"))
    config = compose_config([*small_overrides, "method=fgsm", "logger=wandb"], config_dirs=[str(CONFIG_DIR)])
    outcome = run(config)
    assert list(outcome.folder.glob("wandb/offline-run-*/*.wandb"))
    units = pd.read_csv(outcome.folder / "units.csv")
    assert len(units) == 3 * 3
    assert set(units["method"]) == {"identity", "random_sign", "fgsm"}
    assert units["elapsed_seconds"].is_monotonic_increasing
