"""Whole runs of a tiny experiment on attributes: planning, answers that are shared, labels, failures, mistakes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import DictConfig

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.experiment.prepare import prepare
from cloakbench.bench.experiment.run import Outcome, run
from cloakbench.bench.experiment.run_status import due_jobs, look_up
from cloakbench.bench.plan.networks import attribute_labels
from cloakbench.bench.plan.passes import passes_of
from cloakbench.bench.plan.plan import build_cells

pytestmark = pytest.mark.usefixtures("pdf_left_out")

NETWORKS = ("resnet18", "mobilenet")
LEFT_OUT = ("resnet34", "resnet50", "googlenet", "vgg16")
SLOW = (
    *("ti_m", "mi_fgsm_m", "vmi_fgsm_m", "lowkey_m", "lowkey_m_matched", "fawkes_m", "tip_im_m"),
    *("invisible_face", "privacynet", "gender_an", "chhabra"),
)
SMALL = (
    *(f"dataset.{name}={count}" for name, count in {"identities": 3, "probes_per_identity": 2}.items()),
    *("dataset.references_per_identity=1", "dataset.auxiliary_identities=2", "plan.chunk_identities=2"),
    *(
        "~variants.pgd_m",
        "statistics.resamples=50",
        "runtime.workers=0",
        "report.printed=[invisible_face_1,invisible_face_2]",
    ),
)


def compose(place: Path, cache: Path, *more: str) -> DictConfig:
    words = ["experiment=invisible_face_table1", *SMALL, f"paths.results={place}", f"paths.cache={cache}"]
    alone = "~attribute_surrogates" in more
    groups = ("attribute_targets",) if alone else ("attribute_surrogates", "attribute_targets")
    words += [f"~{group}.{key}" for group in groups for key in LEFT_OUT]
    words += [f"~methods.{key}" for key in SLOW]
    return compose_config([*words, *more])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, faces_cache: Path) -> Outcome:
    return run(compose(tmp_path_factory.mktemp("attributes"), faces_cache))


def rates(outcome: Outcome, metric: str) -> pd.DataFrame:
    found = outcome.results.measurements
    return found[(found["metric"] == metric) & (found["protocol"] == "attributes")]


def test_every_method_is_answered_by_every_network_on_every_surrogate(finished: Outcome) -> None:
    found = rates(finished, "mosr")
    assert set(found["judge"]) == set(NETWORKS)
    attacked = found[found["surrogate"] != ""]
    assert set(attacked["surrogate"]) == set(NETWORKS)
    assert len(attacked) == 2 * 2 * 2 * 2  # methods, budgets, surrogates, targets
    assert (found["n"] == 6).all()
    assert (found["status"] == "ok").all()
    assert (attacked["white_box"] == (attacked["surrogate"] == attacked["judge"])).all()
    assert not finished.problems


def test_the_clean_row_is_the_error_of_the_networks(finished: Outcome) -> None:
    records = pd.read_parquet(finished.folder / "data" / "records_attributes.parquet")
    clean = records[records["method"] == "identity"]
    for name in ("gender", "age", "complexion"):
        assert (clean[f"{name}_class"] == clean[f"{name}_clean_class"]).all()
    wrong = [(clean[f"{name}_clean_class"] != clean[f"{name}_label"]) for name in ("gender", "age", "complexion")]
    every = np.logical_and.reduce([one.to_numpy(dtype=bool) for one in wrong])
    own = rates(finished, "mosr")
    assert own[own["method"] == "identity"]["value"].mean() == pytest.approx(every.mean())
    drops = rates(finished, "confidence_drop_age")
    assert (drops[drops["method"] == "identity"]["value"] == 0).all()


def test_attacks_lose_more_confidence_on_their_own_network_than_random_signs(finished: Outcome) -> None:
    drops = rates(finished, "confidence_drop_gender")
    pgd = drops[(drops["method"] == "pgd_m") & drops["white_box"] & (drops["epsilon_255"] == 8)]["value"]
    control = drops[(drops["method"] == "random_sign") & (drops["epsilon_255"] == 8)]["value"]
    assert pgd.min() > control.max() + 0.1


def test_the_report_has_the_papers_tables_and_figures(finished: Outcome) -> None:
    tables = {path.stem for path in (finished.folder / "tables").glob("*.csv")}
    assert {
        *("attributes_white_box", "attributes_naturalness", "attributes_each", "attributes_transfer"),
        *("attributes_mosr", "attributes_confidence", "reported_invisible_face_1", "reported_invisible_face_2"),
    } <= tables
    figures = {path.stem for path in (finished.folder / "figures").glob("*.png")}
    assert {"attributes", "attributes_each", "attributes_differences"} <= figures
    naturalness = pd.read_csv(finished.folder / "tables" / "reported_invisible_face_2.csv")
    text = naturalness.to_csv()
    assert "measured" in text
    assert "4 of 12 columns" in text  # two networks of six, SSIM and PSNR
    report = (finished.folder / "report.md").read_text(encoding="utf-8")
    assert "12.5" in report  # what guesses come to
    assert finished.results.setup["attributes_chance"] == pytest.approx(0.125)


def test_a_second_run_has_nothing_to_do(finished: Outcome, faces_cache: Path) -> None:
    experiment = prepare(compose(finished.folder.parents[1], faces_cache))
    assert due_jobs(look_up(experiment)) == []
    assert experiment.folder == finished.folder


def test_recognisers_answer_about_the_same_protected_photos(finished: Outcome, faces_cache: Path) -> None:
    """The same chunks: photos that were protected for the attribute protocol are not protected again."""
    asked = ("+model@targets.cosface_ir=cosface_ir", "protocol@protocols.identification=identification")
    both = prepare(compose(finished.folder.parents[1], faces_cache, *asked, "dataset.distractors=4"))
    alone = prepare(compose(finished.folder.parents[1], faces_cache))
    assert [one.unit.key for one in both.units] == [one.unit.key for one in alone.units]
    assert {one.protocol.name for one in both.asked} >= {"attributes", "identification"}


@pytest.mark.slow
def test_methods_of_its_own_make_the_photos_that_the_experiment_would(finished: Outcome, faces_cache: Path) -> None:
    own = (
        "+method@protocols.attributes.methods.pgd_m=pgd_m",
        "protocols.attributes.epsilons_255=[8]",
        "protocols.attributes.identities=2",
        "~methods.pgd_m",
        "~methods.fgsm_m",
        "plan.limits={}",
    )
    experiment = prepare(compose(finished.folder.parents[1], faces_cache, *own))
    assert list(experiment.publications) == ["attributes"]
    known = {one.unit.key for one in prepare(compose(finished.folder.parents[1], faces_cache)).units}
    assert {one.unit.key for one in experiment.units} <= known
    outcome = run(compose(finished.folder.parents[1], faces_cache, *own, "report.figures=false"))
    assert (rates(outcome, "mosr")["n"] == 4).all()
    assert "attributes_naturalness" in {path.stem for path in (outcome.folder / "tables").glob("*.csv")}


def test_a_network_attacked_on_the_first_attributes_is_another_surrogate(tmp_path: Path, faces_cache: Path) -> None:
    config = compose(tmp_path, faces_cache, "attribute_counts=[1,3]")
    assert list(attribute_labels(config)) == [f"{one}_first{count}" for one in NETWORKS for count in (1, 3)]
    experiment = prepare(config)
    prints = experiment.planning.fingerprints
    assert prints["resnet18_first3"] == prints["resnet18"]
    assert prints["resnet18_first1"] != prints["resnet18"]
    assert "resnet18_first1" in experiment.planning.same_weights["resnet18"]


def test_names_of_labels_reach_no_answer_and_reading_the_task_does(tmp_path: Path, faces_cache: Path) -> None:
    plain = prepare(compose(tmp_path, faces_cache)).planning.fingerprints
    renamed = "attribute_task.attributes.gender.classes.feminine.labels=[0,7]"
    assert prepare(compose(tmp_path, faces_cache, renamed)).planning.fingerprints == plain
    coarser = "+attribute_task.attributes.age.classes.child.called=[child,grown]"
    moved = ("attribute_task.attributes.age.classes.adult.called=[adult,old]", coarser)
    assert prepare(compose(tmp_path, faces_cache, *moved)).planning.fingerprints != plain


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("attribute_task=celeba10",), "attribute model attributes_resnet18 and attribute task celeba10"),
        (("attribute_counts=[4]",), "protocols.attributes: attribute task world3: it has 3 attributes"),
        (("+attribute_task.attributes.age.column=wisdom",), "the data set has no label 'wisdom'"),
        (("protocols.attributes.photos=test",), "data set synthetic has no test photos, which attributes is to"),
        (("+model@targets.resnet18=arcface_ir",), "resnet18 is a recogniser and an attribute network"),
        (
            ("~attribute_surrogates",),
            r"pgd_m needs an attribute surrogate: add one with \+attribute_model@attribute_surrogates.KEY=NAME",
        ),
    ],
)
def test_mistakes_are_told_in_one_line(words: tuple[str, ...], line: str, tmp_path: Path, faces_cache: Path) -> None:
    left = ("~methods.fgsm_m", "plan.limits={}")
    with pytest.raises(ConfigError, match=line) as caught:
        prepare(compose(tmp_path, faces_cache, *left, *words))
    assert "\n" not in str(caught.value)


def test_an_experiment_without_a_task_is_told_so() -> None:
    words = (
        "+attribute_model@attribute_targets.resnet18=attributes_resnet18",
        "protocol@protocols.attributes=attributes",
    )
    with pytest.raises(ConfigError, match="attributes has no task: choose one with attribute_task=NAME"):
        prepare(compose_config(["experiment=smoke", *words]))
    with pytest.raises(ConfigError, match="resnet18 answer no attribute task: choose one with attribute_task=NAME"):
        prepare(compose_config(["experiment=smoke", words[0]]))


def test_passes_of_methods_that_attack_attributes_are_counted(tmp_path: Path, faces_cache: Path) -> None:
    cells = {(cell.method, cell.budget.number): cell for cell in build_cells(compose(tmp_path, faces_cache))}
    assert passes_of(cells["fgsm_m", 8]) == 1 + 1 + 2  # the answers, then a pass each way, of which the second counts 2
    assert passes_of(cells["pgd_m", 8]) == 1 + 10 * (1 + 2)
