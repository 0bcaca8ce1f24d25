"""Protocol `visual`: what is matched, hidden and recovered, from the store alone; seen and unseen photos apart."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from veils import KEY

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.ranges import SettingError
from cloakbench.bench.experiment.prepare import prepare
from cloakbench.bench.experiment.run import Outcome, run
from cloakbench.bench.protocols.visual import front
from cloakbench.bench.protocols.visual.index import Hidden
from cloakbench.bench.protocols.visual.protocol import Visual
from cloakbench.bench.report.archive import load_results
from cloakbench.bench.report.drawing.plotting import Skipped
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.results import RECOVERED
from cloakbench.bench.store.store import Store

pytestmark = pytest.mark.usefixtures("pdf_left_out")

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"
SMALL = ("~protocols.visual.methods.pgd", "~transforms.gaussian_noise", "variants=null", "report.figures=false")


def words(results: Path, cache: Path, *more: str) -> list[str]:
    return [
        "experiment=tiny_visual",
        f"paths.results={results}",
        f"paths.cache={cache}",
        "runtime.workers=0",
        *more,
    ]


def hide(results: Path, cache: Path, *more: str) -> Outcome:
    return run(compose_config(words(results, cache, *more), config_dirs=[str(CONFIG_DIR)]))


@pytest.fixture(scope="module")
def hidden(tmp_path_factory: pytest.TempPathFactory, faces_cache: Path) -> Outcome:
    return hide(tmp_path_factory.mktemp("visual"), faces_cache)


def results_of(outcome: Outcome) -> Path:
    return outcome.folder.parents[1]


def value(
    outcome: Outcome, metric: str, method: str, variant: str = "", judge: str = "", condition: str = "none"
) -> float:
    frame = outcome.results.measurements
    rows = frame[(frame["metric"] == metric) & (frame["method"] == method) & (frame["variant"] == variant)]
    [found] = rows.loc[(rows["judge"] == judge) & (rows["condition"] == condition), "value"]
    return float(found)


def test_seen_and_unseen_photos_are_measured_apart(hidden: Outcome) -> None:
    frame = hidden.results.measurements
    assert not hidden.problems and set(frame["status"]) == {"ok"} and set(frame["protocol"]) == {"visual"}
    counts = {metric: set(own["n"]) for metric, own in frame.groupby("metric") if not metric.startswith("hidden_psnr")}
    assert {metric for metric, n in counts.items() if n == {8}} | {
        metric for metric, n in counts.items() if n == {12}
    } == set(counts)
    assert all((n == {12}) == metric.endswith("_seen") for metric, n in counts.items())
    records = pd.read_parquet(hidden.folder / "data" / "records_visual.parquet")
    assert records.groupby("role")["image_id"].nunique().to_dict() == {"probe": 8, "reference": 12}
    report = (hidden.folder / "report.md").read_text(encoding="utf-8")
    assert "photos that no veil has seen" in report and "photos that veils were made from" in report
    assert "Also measured\n" not in report.replace("Also measured:\n", "")


def test_photos_come_back_and_the_clean_row_hides_nothing(hidden: Outcome) -> None:
    assert value(hidden, "hidden_ssim", "identity") == value(hidden, "hidden_ssim", "keyed_blend", "alpha=1") == 1
    assert value(hidden, "hidden_ssim", "keyed_blend") < 0.1
    assert value(hidden, "recovered_psnr", "keyed_blend") > 44
    assert value(hidden, "recovered_linf_255", "keyed_blend") <= 2.5
    assert value(hidden, "recovered_linf_255_seen", "keyed_blend", "alpha=0.8") <= 1
    assert value(hidden, "recovered_psnr", "keyed_blend", condition="gaussian_noise_8") < 30
    assert value(hidden, "recovered_psnr_smoothed", "keyed_blend") < value(hidden, "recovered_psnr", "keyed_blend")
    frame = hidden.results.measurements
    assert set(frame.loc[frame["metric"].str.startswith("recovered"), "variant"]) == {"", "alpha=0.8"}
    assert set(frame.loc[frame["metric"].str.startswith("recovered"), "method"]) == {"keyed_blend"}


NOISES = (
    "+transform@transforms.salt_and_pepper=salt_and_pepper",
    "+transform@transforms.median=median",
    "variants=null",
    "~protocols.visual.methods.pgd",
    "protocols.visual.photos=probe",
    "report.figures=false",
)


@pytest.mark.slow
@pytest.mark.parametrize("targets", [True, False], ids=["with targets", "without"])
def test_recovery_is_measured_and_shown_after_each_transform(tmp_path: Path, faces_cache: Path, targets: bool) -> None:
    outcome = hide(tmp_path, faces_cache, *NOISES, *([] if targets else ["~targets"]))
    assert not outcome.problems
    frame = outcome.results.measurements
    conditions = ["none", "gaussian_noise_8", "salt_and_pepper_0.05", "median_3"]
    for metric in ("recovered_psnr", "recovered_linf_255", "recovered_psnr_smoothed"):
        own = frame[(frame["metric"] == metric) & (frame["method"] == "keyed_blend")]
        assert sorted(own["condition"]) == sorted(conditions) and set(own["status"]) == {"ok"} and set(own["n"]) == {8}
        [row] = pd.read_csv(outcome.folder / "tables" / f"visual_{metric}_transforms.csv").to_dict("records")
        for condition in conditions:
            assert row[condition] == pytest.approx(value(outcome, metric, "keyed_blend", condition=condition), abs=0.05)
    psnr = {one: value(outcome, "recovered_psnr", "keyed_blend", condition=one) for one in conditions}
    # A value that was turned black or white is off by 255; its neighbours are whole, so that most comes back.
    assert psnr["none"] > 44
    assert 20 > psnr["salt_and_pepper_0.05"] > psnr["median_3"]
    assert (outcome.folder / "tables" / "visual_msr_black_box_transforms.csv").exists() == targets


def test_white_box_is_marked_and_left_out_of_the_black_box_mean(hidden: Outcome) -> None:
    table = pd.read_csv(hidden.folder / "tables" / "visual_msr.csv").set_index("method")
    own, other = (100 * value(hidden, "msr_top1", "pgd", judge=judge) for judge in ("tiny1", "tiny2"))
    row = table.loc["PGD at 8/255"]
    assert row["tiny1_msr_top1_percent"] == pytest.approx(own, abs=0.05)
    assert row["black_box_mean_msr_top1_percent"] == pytest.approx(other, abs=0.05)
    assert row["black_box_mean_msr_top1_percent_low"] <= other <= row["black_box_mean_msr_top1_percent_high"]
    text = (hidden.folder / "report.md").read_text(encoding="utf-8")
    assert f"{own:.1f}†" in text


@pytest.mark.slow
def test_rates_are_those_of_identification_on_the_same_photos(tmp_path: Path, faces_cache: Path) -> None:
    beside = ["protocol@protocols.identification=identification", "protocols.identification.enrolled=true"]
    again = ["+method@methods.keyed_blend=keyed_blend", "protocols.visual.photos=probe", *SMALL]
    outcome = hide(tmp_path, faces_cache, *beside, *again)
    frame = outcome.results.measurements
    plain = frame[(frame["judge"] != "") & (frame["condition"] == "none")]
    plain = plain.set_index(["metric", "method", "judge"]).sort_index()
    for (_, method, judge), row in plain.loc[["msr_top1"]].iterrows():
        psr = plain.loc["psr_p2_top1", method, judge]
        assert 100 * row["value"] == 100 - 100 * psr["value"] and row["n"] == psr["n"]
        enrolled = plain.loc["psr_enrolled_top1", method, judge]
        assert plain.loc["msr_enrolled", method, judge]["value"] == pytest.approx(1 - enrolled["value"], abs=1e-12)
        assert plain.loc["msr_with_source", method, judge]["value"] >= row["value"]
    clean = plain.loc["psr_enrolled_top1", "identity"]["value"]
    assert clean.tolist() == plain.loc["psr_p2_top1", "identity"]["value"].tolist()
    protected = list((tmp_path / "store" / "protected").rglob("*.zip"))
    assert len(protected) == 3 * 2  # the photos of both protocols are the same, and protected once
    kept = load_results(outcome.folder)
    assert [one.publication for one in kept.examples] == ["", "", "visual", "visual"]
    assert [one.image_id for one in kept.examples[:2]] == [one.image_id for one in kept.examples[2:]]
    for ours, theirs in zip(kept.examples, outcome.results.examples, strict=True):
        assert (ours.image_id, ours.publication) == (theirs.image_id, theirs.publication)
        assert torch.equal(ours.protected["keyed_blend"], theirs.protected["keyed_blend"])
        assert (RECOVERED in ours.shown.get("keyed_blend", {})) == (ours.publication == "visual")


def test_veils_are_made_from_so_many_references_and_no_others_are_published(tmp_path: Path, faces_cache: Path) -> None:
    wanted = [*words(tmp_path, faces_cache, *SMALL), "protocols.visual.references=2"]
    publication = prepare(compose_config(wanted, config_dirs=[str(CONFIG_DIR)])).publications["visual"]
    for units in publication.units:
        for planned in units:
            assert {len(rows) for rows in planned.unit.chunk.references} == {2}
    everything = prepare(compose_config(words(tmp_path, faces_cache, *SMALL), config_dirs=[str(CONFIG_DIR)]))
    published, whole = publication.faces, everything.publications["visual"].faces
    assert (len(published), len(whole)) == (4 * (2 + 2), 4 * (2 + 3))
    assert set(published.image_id) < set(whole.image_id)


def test_figures_show_what_was_published_and_what_comes_back(hidden: Outcome) -> None:
    examples = hidden.results.examples
    assert len(examples) == 2 * 2  # of two people an unseen photo, then a seen one
    for example in examples:
        back = example.shown["keyed_blend"][RECOVERED]
        assert float((back.float() - example.original.float()).abs().max()) <= 3
        assert "pgd 8/255" in example.protected and "pgd 8/255" not in example.shown
    records = pd.read_parquet(hidden.folder / "data" / "records_visual.parquet")
    seen = set(records.loc[records["role"] == "reference", "image_id"])
    assert [example.image_id in seen for example in examples] == [False, False, True, True]
    assert {"visual_faces.png", "visual_faces_seen.png"} <= {
        path.name for path in (hidden.folder / "figures").iterdir()
    }


def stored_keys(results: Path) -> list[Path]:
    return sorted(path for path in (results / "store" / "keys").rglob("*") if path.is_file())


@pytest.mark.slow
def test_without_keys_finished_tables_stay_and_what_is_due_is_a_gap_with_its_reason(
    hidden: Outcome, tmp_path: Path, faces_cache: Path
) -> None:
    results = tmp_path / "copy"
    shutil.copytree(results_of(hidden), results)
    shutil.rmtree(results / "store" / "keys")
    (results / "runs" / hidden.folder.name / "report.md").unlink()  # so that it is written again
    kinds = ("tables/*.csv", "figures/*.png", "data/examples.zip")
    before = {path: path.read_bytes() for kind in kinds for path in (results / "runs").rglob(kind)}
    assert len(before) > 10
    again = hide(results, faces_cache)
    assert not again.reused and not again.problems
    assert {path: path.read_bytes() for kind in kinds for path in (results / "runs").rglob(kind)} == before
    assert not (results / "store" / "keys").exists()

    due = hide(results, faces_cache, "+image_metric@protocols.visual.recovered.l2_255=l2_255", "report.figures=false")
    frame = due.results.measurements
    [row] = frame[(frame["metric"] == "recovered_l2_255") & (frame["condition"] == "none")].query("variant == ''").index
    assert frame.at[row, "status"] == "unavailable" and pd.isna(frame.at[row, "value"])
    assert "no key in the store" in frame.at[row, "note"]
    assert value(due, "recovered_psnr", "keyed_blend") == value(hidden, "recovered_psnr", "keyed_blend")
    assert any("the key of these photos is not in" in problem for problem in due.problems)


@pytest.mark.slow
def test_recovery_reads_the_stored_key_and_the_stored_photo(tmp_path: Path, faces_cache: Path) -> None:
    first = hide(tmp_path, faces_cache, *SMALL)
    store = Store(tmp_path / "store")
    for path in stored_keys(tmp_path):
        known = store.read_tensors("keys", path.stem)
        assert known is not None
        store.write_tensors("keys", path.stem, {KEY: known[0][KEY].flip(0)}, {})
    for path in (tmp_path / "store" / "recovered").rglob("*.safetensors"):
        path.unlink()
    swapped = hide(tmp_path, faces_cache, *SMALL, "statistics.resamples=40")
    assert value(swapped, "recovered_psnr", "keyed_blend") < 11 < value(first, "recovered_psnr", "keyed_blend")


@pytest.mark.slow
def test_visual_without_methods_measures_the_controls(tmp_path: Path, faces_cache: Path) -> None:
    few = ["dataset.identities=2", "dataset.probes_per_identity=2", "~transforms.jpeg", "epsilons_255=[8]"]
    added = ["experiment=tiny", "protocol@protocols.visual=visual", "~methods.opom_convex_hull", *few]
    places = [f"paths.results={tmp_path}", f"paths.cache={faces_cache}", "runtime.workers=0"]
    outcome = run(compose_config([*added, *places], config_dirs=[str(CONFIG_DIR)]))
    frame = outcome.results.measurements
    own = frame[(frame["protocol"] == "visual") & (frame["metric"] == "hidden_ssim")]
    assert set(own["method"]) == {"identity", "random_sign"} and set(own["status"]) == {"ok"}
    assert set(frame.loc[frame["protocol"] == "identification", "method"]) == {"identity", "random_sign", "pgd"}
    assert "## Hiding from eyes" in (outcome.folder / "report.md").read_text(encoding="utf-8")


def test_bad_settings_are_named(tmp_path: Path, faces_cache: Path) -> None:
    with pytest.raises(SettingError, match=r"photos is .*reference, probe, or"):
        Visual({}, ["reference", "reference"])
    with pytest.raises(SettingError, match="identities is 0"):
        Visual({}, identities=0)
    with pytest.raises(SettingError, match="references is 0"):
        Visual({}, references=0)
    lacking = [*SMALL, "dataset.references_per_identity=0"]
    with pytest.raises(ConfigError, match="has no reference photos, which visual is to protect"):
        prepare(compose_config(words(tmp_path, faces_cache, *lacking), config_dirs=[str(CONFIG_DIR)]))


def test_the_front_has_a_point_for_each_method_with_a_surrogate(
    hidden: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = Hidden(Measured(hidden.results), "probe")
    assert isinstance(front.hiding_front(rows), Skipped), "one method is no front"
    monkeypatch.setattr(front, "_FEWEST", 1)
    figure = front.hiding_front(rows)
    assert not isinstance(figure, Skipped)
    white, black = figure.axes[:2]
    for axis, judge in ((white, "tiny1"), (black, "tiny2")):
        [[x, y]] = axis.lines[-1].get_xydata()  # the front of one row
        assert x == pytest.approx(value(hidden, "hidden_ssim", "pgd"))
        assert y == pytest.approx(100 * value(hidden, "msr_top1", "pgd", judge=judge))
