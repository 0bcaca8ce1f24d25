"""Loggers: the CSV file has a line per unit, and Weights & Biases works offline."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cloakbench.bench.cli.main import main
from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.experiment.logging.live_page import LivePage
from cloakbench.bench.experiment.logging.logged_numbers import summary_numbers
from cloakbench.bench.experiment.run import run

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"


def records_of(file: Path) -> Iterator[Any]:
    """Records of a file that Weights & Biases wrote: pieces in blocks of 32 KiB, each with digest, size and kind."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, place, record = file.read_bytes(), 7, b""
    while place + 7 <= len(content):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        _, size, kind = struct.unpack_from("<IHB", content, place)
        record += content[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last piece
            yield Record.FromString(record)
            record = b""


def test_wandb_offline_writes_its_files_into_the_run_and_the_csv_logger_has_a_line_per_unit(
    small_overrides: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "wandb-cache"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb-config"))
    config = compose_config([*small_overrides, "method=fgsm", "logger=wandb"], config_dirs=[str(CONFIG_DIR)])
    outcome = run(config)
    [file] = outcome.folder.glob("wandb/offline-run-*/*.wandb")
    run_id = hashlib.sha256(outcome.folder.name.encode()).hexdigest()[:16]
    assert file.stem == f"run-{run_id}", "a run that is started again is the same run"
    assert list(file.parent.glob("files/media/table/measurements_*.json"))
    expected = summary_numbers(outcome.results.measurements)
    kept: dict[str, str] = {}
    end = time.monotonic() + 60  # the writer is a process of its own, and may still be at it
    while not set(expected) <= set(kept) and time.monotonic() < end:
        kept = {item.key: item.value_json for record in records_of(file) for item in record.summary.update}
        time.sleep(0.2)
    assert expected["quality/ssim/identity"] == 1
    assert {name: json.loads(kept[name]) for name in expected} == pytest.approx(expected)
    units = pd.read_csv(outcome.folder / "units.csv")
    assert len(units) == 3 * 3
    assert set(units["method"]) == {"identity", "random_sign", "fgsm"}
    assert units["elapsed_seconds"].is_monotonic_increasing


def test_a_live_page_tells_what_was_protected_and_view_opens_it_while_the_run_works(
    small_overrides: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "runs" / "tiny-0123abcd"
    folder.mkdir(parents=True)
    page = LivePage(every_seconds=1e-6)
    page.start(folder, {"name": "<tiny>"})
    told = {"method": "pgd", "variant": "steps=2", "epsilon_255": 8.0, "surrogate": "tiny1", "chunk": 0}
    for failed in (0, 3):
        page.unit({**told, "seconds": 1.5, "photos": 10, "failed": failed})
    text = (folder / "live.html").read_text(encoding="utf-8")
    assert 'http-equiv="refresh"' in text and "&lt;tiny&gt;: at work" in text and "<script" not in text
    row = "<td>pgd (steps=2)</td><td>8</td><td>tiny1</td><td>20</td><td>0.15</td>"
    assert row in text and '<span class="failed">3</span>' in text
    assert main(["view", "tiny", "open=false", f"paths.results={tmp_path}"]) == 0
    assert str(folder / "live.html") in capsys.readouterr().out
    page.finish(pd.DataFrame())
    assert "refresh" not in (folder / "live.html").read_text(encoding="utf-8")
    outcome = run(compose_config([*small_overrides, "method=fgsm", "logger=live"], config_dirs=[str(CONFIG_DIR)]))
    assert "<td>random_sign</td>" in (outcome.folder / "live.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_mlflow_keeps_settings_numbers_and_report_and_goes_on_in_the_same_run(
    small_overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    words = [*small_overrides, "method=fgsm", "logger=mlflow", "logger.mlflow.group=a_sweep"]
    first = run(compose_config(words, config_dirs=[str(CONFIG_DIR)]))
    run(compose_config(words, config_dirs=[str(CONFIG_DIR)]))
    assert "MLFLOW_ALLOW_FILE_STORE" not in os.environ, "the program around finds everything as it was"
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = MlflowClient((first.folder / "mlruns").as_uri())
    place = client.get_experiment_by_name("cloakbench")
    assert place is not None
    [kept] = client.search_runs([place.experiment_id])
    assert kept.data.params["seed"] == "0"
    assert kept.data.tags["group"] == "a_sweep"
    assert kept.data.metrics["units"] == len(pd.read_csv(first.folder / "units.csv"))
    assert kept.data.metrics["quality/ssim/identity"] == pytest.approx(1)
    assert "report.md" in [item.path for item in client.list_artifacts(kept.info.run_id)]


@pytest.mark.slow
def test_tensorboard_has_curves_and_numbers(small_overrides: list[str]) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = compose_config([*small_overrides, "method=fgsm", "logger=tensorboard"], config_dirs=[str(CONFIG_DIR)])
    outcome = run(config)
    events = EventAccumulator(str(outcome.folder / "tensorboard")).Reload()
    assert len(events.Scalars("unit/seconds")) == len(pd.read_csv(outcome.folder / "units.csv"))
    assert events.Scalars("quality/ssim/identity")[0].value == pytest.approx(1)


def test_a_mean_with_a_gap_is_no_number() -> None:
    row = {"protocol": "quality", "metric": "ssim", "variant": "", "epsilon_255": 8.0, "white_box": False}
    row |= {"condition": "none"}
    cells = [
        row | {"method": "pgd", "value": 0.5, "status": "ok"},
        row | {"method": "pgd", "value": 0.7, "status": "ok"},
        row | {"method": "fgsm", "value": 0.5, "status": "ok"},
        row | {"method": "fgsm", "value": float("nan"), "status": "target_failed"},
        row | {"method": "white", "value": 0.5, "status": "ok", "white_box": True},
    ]
    assert summary_numbers(pd.DataFrame(cells)) == {"quality/ssim/pgd/eps8": pytest.approx(0.6)}
