"""What others read of a run: records against their schema, descriptions against their own library, cards."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from cloakbench.bench.report.formats.cards import model_card
from cloakbench.bench.report.formats.croissant import FIELDS, MANIFEST, Described, croissant
from cloakbench.bench.report.formats.every_eval_ever import SCHEMA_VERSION, RunSource, every_eval_ever
from cloakbench.bench.report.results import Results
from cloakbench.models.base import ModelCard

pytestmark = pytest.mark.slow

SCHEMA = Path(__file__).parents[2] / "support" / "schemas" / f"every_eval_ever-{SCHEMA_VERSION}.json"
SOURCE = RunSource("somebody", "third_party", "1764200000", "0.2.0")


def test_every_record_fits_the_schema_and_holds_every_number(results: Results) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(SCHEMA.read_text("utf-8"))
    validator = jsonschema.validators.validator_for(schema)(schema)
    found = dict(every_eval_ever(results, SOURCE))
    for record in found.values():
        validator.validate(json.loads(json.dumps(record, allow_nan=False)))
    frame = results.measurements
    measured = frame[(frame["status"] == "ok") & np.isfinite(frame["value"])]
    assert sum(len(record["evaluation_results"]) for record in found.values()) == len(measured)
    broken = {**next(iter(found.values())), "model_info": {"name": "no id"}}
    assert not validator.is_valid(broken), "the schema is one that refuses"


def test_a_failure_is_counted_and_has_no_score(results: Results) -> None:
    frame = results.measurements.copy()
    one = frame.index[frame["method"] == "pgd"][0]
    frame.loc[one, ["value", "low", "high", "status"]] = [np.nan, np.nan, np.nan, "target_failed"]
    before = dict(every_eval_ever(results, SOURCE))
    after = dict(every_eval_ever(replace(results, measurements=frame), SOURCE))
    [changed] = [name for name in before if before[name] != after[name]]
    counts = [len(records[changed]["evaluation_results"]) for records in (before, after)]
    assert counts[0] - counts[1] == 1
    lost = [int(one[changed]["model_info"]["additional_details"]["cells_without_a_score"]) for one in (before, after)]
    assert lost[1] - lost[0] == 1


def test_a_manifest_is_described_as_croissant_reads_it(tmp_path: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    rows = "image_id,identity,role,sha256,status,note\na/1,a,probe,00,ok,\nb/1,b,distractor,01,ok,\n"
    (tmp_path / MANIFEST).write_text(rows)
    described = Described("faces", "1.0.0", "Two photos.", "MIT", "https://spdx.org/licenses/MIT", "2026-11-27", "us")
    told = croissant(described, FIELDS, hashlib.sha256(rows.encode()).hexdigest())
    (tmp_path / "croissant.json").write_text(json.dumps(told))
    dataset = mlcroissant.Dataset(tmp_path / "croissant.json")
    assert not dataset.metadata.ctx.issues.errors
    assert not dataset.metadata.ctx.issues.warnings
    read = list(dataset.records("photos"))
    assert [record["photos/image_id"] for record in read] == [b"a/1", b"b/1"]


def test_a_card_has_a_head_that_hubs_read() -> None:
    own = ModelCard("net", "ir", "IR", "ArcFace", "rendered", 128, "ab", licence_weights="MIT", clean_top1=0.98)
    card = asdict(own) | {"note": "<b>ours</b>", "roles": "target"}
    text = model_card(card)
    _, head, body = text.split("---\n", 2)
    told = yaml.safe_load(head)
    assert told["model-index"][0]["results"][0]["metrics"][0]["value"] == pytest.approx(card["clean_top1"])
    assert "&lt;b&gt;ours" in body
    other = model_card({**card, "licence_weights": "research only", "clean_top1": np.nan})
    told = yaml.safe_load(other.split("---\n")[1])
    assert (told["license"], told["license_name"], "model-index" in told) == ("other", "research only", False)
