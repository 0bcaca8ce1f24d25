"""Photos that an attacker cleaned with a trained network, in a run: trained once, kept, and part of every key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.engine.cleaning.purified import purified_inputs
from cloakbench.bench.experiment.run import run

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"
SLIM = "{width: 4, discriminator_width: 4, image_epochs: 1, batch: 4}"
PURIFIED = {"_target_": "cloakbench.bench.engine.cleaning.purified.Purified", "name": "dncnn", "surrogates": ["tiny1"]}


def outcome(tmp_path: Path, cache: Path) -> Any:
    recipe = "transforms.dncnn.trainer.recipe"
    words = [
        *("~method@methods.pgd", "~method@methods.opom_convex_hull", "+method@methods.advfaces=advfaces"),
        f"methods.advfaces={SLIM}",
        *("~protocols.verification", "~protocols.quality", "~transforms.jpeg"),
        *(
            "+transform@transforms.dncnn=purified",
            "transforms.dncnn.name=dncnn",
            f"{recipe}.steps=2",
            f"{recipe}.batch=4",
            f"{recipe}.design.width=4",
        ),
        *(f"{recipe}.design.depth=3", f"{recipe}.disturbances.attack_255=0"),
        *("dataset.identities=2", "dataset.references_per_identity=1", "dataset.probes_per_identity=1"),
        *("dataset.distractors=2", "dataset.impostor_identities=0", "dataset.auxiliary_identities=6"),
        *("report.examples=0", "statistics.resamples=10", "runtime.workers=0"),
        *(f"paths.results={tmp_path}", f"paths.cache={cache}"),
    ]
    return run(compose_config(["experiment=tiny", *words], config_dirs=[str(CONFIG_DIR)]))


@pytest.mark.slow
def test_a_purifier_is_trained_once_and_its_condition_is_judged(
    tmp_path: Path, faces_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def trainings() -> int:
        found = sum("training dncnn: attacker_purifier" in line for line in caplog.messages)
        caplog.clear()
        return found

    caplog.set_level("INFO")
    first = outcome(tmp_path, faces_cache)
    assert first.problems == [] and trainings() == 1
    records = first.results.records["identification"]
    assert set(records["condition"]) == {"none", "dncnn"}
    assert dict(zip(first.results.conditions["label"], first.results.conditions["title"], strict=True)) == {
        "none": "As published",
        "dncnn": "DnCNN",
    }
    assert set(records[records["condition"] == "dncnn"]["status"]) == {"ok"}
    again = outcome(tmp_path, faces_cache)
    assert again.problems == [] and trainings() == 0


def test_what_it_learns_from_is_in_the_key() -> None:
    given = purified_inputs(PURIFIED, {"tiny1": "digest"}, "faces", 3)
    assert given == {"surrogates": ["digest"], "auxiliary": "faces", "seed": 3}
    assert purified_inputs({"_target_": "cloakbench.bench.engine.transforms.Jpeg"}, {}, None, 0) == {}


@pytest.mark.parametrize(
    ("fingerprints", "auxiliary", "line"),
    [({"tiny1": "digest"}, None, "dncnn learns from auxiliary people"), ({}, "faces", "tiny1 is no network of this")],
)
def test_what_it_cannot_learn_from_is_one_line(fingerprints: dict[str, str], auxiliary: str | None, line: str) -> None:
    with pytest.raises(ConfigError, match=line) as problem:
        purified_inputs(PURIFIED, fingerprints, auxiliary, 0)
    assert "\n" not in str(problem.value)
