"""Protocols whose judges are their own: no target, whole numbers, a lane, and keys that nobody else may see."""

from __future__ import annotations

import json
import os
import stat
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.engine.worker import Worker
from cloakbench.bench.experiment.prepare import prepare
from cloakbench.bench.experiment.run import Outcome, run
from cloakbench.bench.experiment.run_status import look_up
from cloakbench.bench.report.writer import write_report
from cloakbench.bench.store.errors import KeysGoneError
from cloakbench.bench.store.store import Store

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"


def count(folder: Path, cache: Path, *more: str) -> Outcome:
    words = ["experiment=tiny_counting", f"paths.results={folder}", f"paths.cache={cache}", "runtime.workers=0", *more]
    return run(compose_config(words, config_dirs=[str(CONFIG_DIR)]))


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory, faces_cache: Path) -> Outcome:
    folder = tmp_path_factory.mktemp("counting")
    before = os.umask(0)  # the store itself must keep others out
    try:
        return count(folder, faces_cache)
    finally:
        os.umask(before)


def results_of(outcome: Outcome) -> Path:
    return outcome.folder.parents[1]


def test_a_protocol_that_asks_no_target_needs_none(counted: Outcome) -> None:
    frame = pd.read_csv(counted.folder / "tables" / "measurements.csv", keep_default_na=False)
    assert set(frame["protocol"]) == {"counting", "quality"}
    rows = frame[frame["metric"] == "grey_levels"]
    assert set(rows["judge"]) == {"clerk"}
    assert set(rows["method"]) == {"identity", "random_sign", "every_third_fails", "keeps_key"}
    assert set(rows["status"]) == {"ok"}


def test_whole_numbers_are_stored_read_back_and_scored_as_such(counted: Outcome) -> None:
    store = Store(results_of(counted) / "store")
    stored = [store.read_tensors("counts", path.stem) for path in (store.root / "counts").rglob("*.safetensors")]
    assert stored and all(one is not None and one[0]["levels"].dtype == torch.int64 for one in stored)
    records = pd.read_parquet(counted.folder / "data" / "records_counting.parquet")
    failed = records["status"] != "ok"
    assert set(records.loc[failed, "method"]) == {"every_third_fails"}
    assert records.loc[failed, "grey_levels"].isna().all()
    kept = records.loc[~failed, "grey_levels"]
    assert len(kept)
    assert (kept == kept.round()).all() and (kept > 1).all()
    frame = counted.results.measurements
    for method, own in records[~failed].groupby("method"):
        [row] = frame[(frame["metric"] == "grey_levels") & (frame["method"] == method)].to_dict("records")
        assert row["value"] == pytest.approx(own["grey_levels"].mean())
        assert row["n"] == len(own)


def test_a_whole_number_equals_a_count_of_the_published_photo(counted: Outcome) -> None:
    records = pd.read_parquet(counted.folder / "data" / "records_counting.parquet").set_index(["method", "image_id"])
    assert counted.results.examples
    for example in counted.results.examples:
        for method in ("identity", "keeps_key"):
            shown = next(photo for label, photo in example.protected.items() if label.partition(" ")[0] == method)
            assert records["grey_levels"][method, example.image_id] == len(np.unique(shown.numpy()))


def test_what_only_owners_may_have_is_for_nobody_else_to_read(counted: Outcome) -> None:
    folder = results_of(counted) / "store" / "keys"
    entries = [path for path in folder.rglob("*") if path.is_file()]
    assert len(entries) == 4  # chunks of one method
    assert {stat.S_IMODE(path.stat().st_mode) for path in entries} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder, *(one.parent for one in entries))} == {0o700}


def test_what_only_owners_may_have_is_in_no_other_file(counted: Outcome, tmp_path: Path) -> None:
    write_report(counted.results, tmp_path / "again")
    names = pd.read_parquet(counted.folder / "data" / "records_counting.parquet")["image_id"].unique()
    keys = [torch.randint(0, 256, (64,), generator=generator(0, "key", name)).byte().numpy() for name in names]
    forms = [form for key in keys for form in (key.tobytes(), json.dumps(key.tolist())[1:-1].encode())]
    held = {
        path.relative_to(root).parts[:2]
        for root in (results_of(counted), tmp_path)
        for path in root.rglob("*")
        if path.is_file() and any(form in path.read_bytes() for form in forms)
    }
    assert held == {("store", "keys")}


def test_a_protocol_finds_the_keys_of_photos_and_those_taken_away_stay_away(
    counted: Outcome, faces_cache: Path
) -> None:
    words = ["experiment=tiny_counting", f"paths.results={results_of(counted)}", f"paths.cache={faces_cache}"]
    experiment = prepare(compose_config([*words, "runtime.workers=0"], config_dirs=[str(CONFIG_DIR)]))
    cells = experiment.publications["probes"].cells
    worker = Worker(experiment.spec)
    for cell, photos in zip(cells, look_up(experiment).cells("probes"), strict=True):
        for chunk in photos.chunks:
            private = worker.private(chunk)
            assert set(private) == ({"key"} if cell.method == "keeps_key" else set())
            for name, key in zip(chunk.image_id, private.get("key", ()), strict=bool(private)):
                assert torch.equal(key, torch.randint(0, 256, (64,), generator=generator(0, "key", name)).byte())
    lost = next((results_of(counted) / "store" / "keys").rglob("*.safetensors"))
    lost.unlink()
    assert count(results_of(counted), faces_cache).reused and not lost.exists()
    [chunk] = [one for photos in look_up(experiment).cells("probes") for one in photos.chunks if one.unit == lost.stem]
    with pytest.raises(KeysGoneError, match="put it back, or remove the photos"):
        worker.private(chunk)


@pytest.mark.slow
def test_questions_of_a_lane_are_asked_one_at_a_time(tmp_path: Path, faces_cache: Path) -> None:
    marks = tmp_path / "marks"
    words = ["runtime.workers=2", "protocols.counting.lane=desk", f"protocols.counting.marks={marks}"]
    outcome = count(tmp_path / "results", faces_cache, *words, "~methods.every_third_fails", "dataset.identities=3")
    lines = [tuple(map(float, line.split())) for line in marks.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 9  # three chunks of three methods
    ordered = sorted(lines)
    assert all(end <= begin for (_, end), (begin, _) in pairwise(ordered))
    assert not outcome.problems
