"""Runs with variants: rows, files and curves of their own, equal to the same settings set by hand, in any order."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.experiment.run import Outcome, run
from cloakbench.bench.report.archive import load_results

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("pdf_left_out")]

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"
SMALL = (
    *("experiment=tiny", "method=pgd", "epsilons_255=[8]", "dataset.identities=2", "dataset.distractors=4"),
    *("dataset.impostor_identities=0", "~transforms.jpeg", "~protocols.verification", "statistics.resamples=20"),
    *("report.examples=1", "~protocols.quality.image_metrics.lpips", "~protocols.quality.image_metrics.ms_ssim_w7"),
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, faces_cache: Path) -> dict[str, Outcome]:
    """One store; a run with variants, first with workers and then in another order, and one set by hand."""
    results = tmp_path_factory.mktemp("variants")
    base = [*SMALL, f"paths.results={results}", f"paths.cache={faces_cache}", "runtime.workers=0"]
    kinds = {
        "variants": [
            "+variants.pgd={steps: [1, 2], objective: [reference]}",
            "runtime.workers=2",
            "report.figures=true",
        ],
        "order": ["+variants.pgd={objective: [reference], steps: [2, 1]}"],
        "by_hand": ["method.steps=2", "method.objective=reference"],
    }
    return {name: run(compose_config([*base, *words], config_dirs=[str(CONFIG_DIR)])) for name, words in kinds.items()}


def rows(outcome: Outcome, **where: str) -> pd.DataFrame:
    frame = pd.read_csv(outcome.folder / "tables" / "measurements.csv", keep_default_na=False)
    return (
        frame.loc[(frame[list(where)] == pd.Series(where)).all(axis=1)].drop(columns="variant").reset_index(drop=True)
    )


def test_a_variant_has_the_numbers_of_the_same_run_set_by_hand(finished: dict[str, Outcome]) -> None:
    ours = rows(finished["variants"], method="pgd", variant="objective=reference, steps=2")
    assert len(ours) > 5
    pd.testing.assert_frame_equal(ours, rows(finished["by_hand"], method="pgd"))
    own = rows(finished["variants"], method="pgd", variant="")
    assert not own.equals(ours)


def test_order_and_worker_count_change_no_byte(finished: dict[str, Outcome]) -> None:
    one, other = (finished[name].folder / "tables" / "measurements.csv" for name in ("variants", "order"))
    assert one.parents[1] != other.parents[1] and one.read_bytes() == other.read_bytes()


def test_variants_stand_in_every_frame_and_file(finished: dict[str, Outcome]) -> None:
    folder = finished["variants"].folder
    known = {"", "objective=reference, steps=1", "objective=reference, steps=2"}
    kept = load_results(folder)
    assert set(kept.measurements["variant"]) == set(kept.costs["variant"]) == set(kept.methods["variant"]) == known
    records = pd.read_parquet(folder / "data" / "records_identification.parquet")
    assert set(records["variant"]) == known
    assert set(kept.examples[0].protected) >= {"pgd 8/255", "pgd (objective=reference, steps=2) 8/255"}
    for table in ("identification_p2_eps8", "quality", "variants", "cost", "methods"):
        text = (folder / "tables" / f"{table}.csv").read_text(encoding="utf-8")
        assert "PGD" in text and (table == "variants" or "PGD (objective=reference, steps=2)" in text), table
    assert (folder / "figures" / "variants_steps.png").exists()
    assert not (finished["by_hand"].folder / "tables" / "variants.csv").exists()
    units = pd.read_csv(folder / "units.csv", keep_default_na=False)
    assert set(units.loc[units["method"] == "pgd", "variant"]) == known
