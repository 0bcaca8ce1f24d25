"""Views in the store: made once for each photo, shared by all that come to their key; a failure is never a number."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from own_views import Planted

import cloakbench
from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.hashing import content_key, tensor_digest
from cloakbench.bench.engine.views import KIND, stored_views, view_inputs
from cloakbench.bench.experiment.dry_run import describe_work
from cloakbench.bench.experiment.prepare import prepare
from cloakbench.bench.experiment.run import Outcome, run
from cloakbench.bench.plan.publication import PROBES
from cloakbench.bench.store.store import Store
from cloakbench.datasets.synthetic.world import SyntheticWorld
from cloakbench.methods.facecloak import FaceCloak
from cloakbench.methods.photo_batch import PhotoBatch
from cloakbench.models.generators import EmbeddedGenerator, Generator

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"
CPU = torch.device("cpu")
PEOPLE = 6


def words(results: Path, cache: Path, *more: str, generator: str = "planted") -> list[str]:
    small = ["experiment=tiny", "method=uses_views", "~protocols.verification", "~transforms.jpeg"]
    small += ["report.examples=0", "statistics.resamples=10", "dataset.distractors=5", "dataset.impostor_identities=0"]
    chosen = [f"generator={generator}"] if generator else []
    return [*small, *chosen, f"paths.results={results}", f"paths.cache={cache}", "runtime.workers=0", *more]


def go(results: Path, cache: Path, *more: str) -> Outcome:
    return run(compose_config(words(results, cache, *more), config_dirs=[str(CONFIG_DIR)]))


def entries(results: Path, kind: str = KIND) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (results / "store" / kind).rglob("*.*")}


def unit_keys(tmp_path: Path, cache: Path, *more: str) -> set[str]:
    config = compose_config(words(tmp_path, cache, *more), config_dirs=[str(CONFIG_DIR)])
    publication = prepare(config).publications[PROBES]
    return {
        planned.unit.key
        for cell, units in zip(publication.cells, publication.units, strict=True)
        for planned in units
        if cell.method == "uses_views"
    }


@pytest.mark.slow
@pytest.mark.usefixtures("report_left_out")
def test_views_are_made_once_for_all_budgets_methods_and_runs(
    tmp_path: Path, faces_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = tmp_path / "marks"
    monkeypatch.setenv("OWN_VIEWS_MARKS", str(marks))
    outcome = go(tmp_path, faces_cache, "epsilons_255=[4,8]")
    assert outcome.problems == []
    assert marks.read_text().split() == ["1"] * PEOPLE  # two budgets, one call for each person
    go(tmp_path, faces_cache, "method.epsilon_255=12", "model@target=tiny3")
    assert len(marks.read_text().split()) == len(entries(tmp_path)) == PEOPLE
    go(tmp_path, faces_cache, "method.views=4")
    assert len(marks.read_text().split()) == len(entries(tmp_path)) == 2 * PEOPLE


@pytest.mark.slow
def test_what_views_took_is_told_apart_from_what_protecting_took(tmp_path: Path, faces_cache: Path) -> None:
    outcome = go(tmp_path, faces_cache)
    [cost] = outcome.results.costs.query("method == 'uses_views'").to_dict("records")
    assert cost["view_passes"] == PEOPLE * 3 * Planted().passes_per_view
    assert cost["view_seconds"] > 0
    assert (cost["forward_per_image"], cost["training_passes"]) == (0, 0)
    others = outcome.results.costs.query("method != 'uses_views'")
    assert (others["view_passes"] == 0).all() and len(others)
    assert "Views, once" in (outcome.folder / "tables" / "passes.md").read_text()


def test_another_count_seed_generator_or_setting_is_another_key_and_another_budget_is_none(
    tmp_path: Path, faces_cache: Path
) -> None:
    found = [
        unit_keys(tmp_path, faces_cache),
        unit_keys(tmp_path, faces_cache, "method.views=4"),
        unit_keys(tmp_path, faces_cache, "seed=1"),
        unit_keys(tmp_path, faces_cache, "generator.light=0.3"),
        unit_keys(tmp_path, faces_cache, "generator=augment"),
        unit_keys(tmp_path, faces_cache, "method.epsilon_255=4"),
    ]
    assert len(set.union(*found)) == sum(map(len, found))
    assert unit_keys(tmp_path, faces_cache) == found[0]
    one, other = (view_inputs("digest", 3, "photo", seed) for seed in (0, 1))
    assert content_key(KIND, one) != content_key(KIND, other)


def test_a_generator_that_no_method_needs_is_in_no_key_and_never_built(tmp_path: Path, faces_cache: Path) -> None:
    def keys(*more: str, generator: str = "planted") -> set[str]:
        overrides = words(tmp_path, faces_cache, "method=pgd", *more, generator=generator)
        return {one.unit.key for one in prepare(compose_config(overrides, config_dirs=[str(CONFIG_DIR)])).units}

    assert keys() == keys("generator.light=0.5") == keys(generator="") == keys(generator="arc2face")


@pytest.mark.slow
def test_facecloak_learns_from_views_of_references_and_never_touches_a_probe(
    tmp_path: Path, faces_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    drawn, learnt = EmbeddedGenerator.draw_views, FaceCloak.fit

    def draw_views(self: EmbeddedGenerator, photos: torch.Tensor, *others: Any) -> torch.Tensor:
        seen.append((255 * photos).round().to(torch.uint8))
        return drawn(self, photos, *others)

    def fit(self: FaceCloak, batch: PhotoBatch, *others: Any) -> torch.Tensor:
        return learnt(self, replace(batch, images=torch.full_like(batch.images, torch.nan)), *others)

    monkeypatch.setattr(EmbeddedGenerator, "draw_views", draw_views)
    monkeypatch.setattr(FaceCloak, "fit", fit)
    small = ("method=facecloak", "method.steps=1", "method.view_count=2", "generator=embedded", "epsilons_255=[8]")
    overrides = words(tmp_path, faces_cache, *small, generator="")
    outcome = run(compose_config(overrides, config_dirs=[str(CONFIG_DIR)]))
    assert outcome.problems == [], "a mask of any probe would be NaN"
    [cost] = outcome.results.costs.query("method == 'facecloak'").to_dict("records")
    assert cost["backward_per_image"] * cost["images"] == 2 * PEOPLE, "a step on each of two views of each person"
    faces = prepare(compose_config(overrides, config_dirs=[str(CONFIG_DIR)])).planning.faces
    digests = {tensor_digest(photo) for photo in torch.cat(seen)}
    assert len(digests) == PEOPLE
    assert digests < {tensor_digest(photo) for photo in faces["reference"].images}
    assert digests.isdisjoint(tensor_digest(photo) for photo in faces["probe"].images)


def test_a_generator_of_rendered_faces_is_told_where_faces_are_no_rendered_ones(
    tmp_path: Path, faces_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = compose_config(words(tmp_path, faces_cache, generator="embedded"), config_dirs=[str(CONFIG_DIR)])
    assert prepare(config).remarks == ()
    monkeypatch.setattr(SyntheticWorld, "rendered", False)
    [line] = prepare(config).remarks
    assert line.startswith("data set synthetic: generator embedded learnt from rendered faces") and "\n" not in line
    assert "generator=augment" in line


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["not_finite", "raises"])
def test_a_generator_that_fails_leaves_rows_with_a_status_and_no_number(
    tmp_path: Path, faces_cache: Path, fault: str
) -> None:
    outcome = go(tmp_path, faces_cache, f"generator.fault={fault}")
    rows = outcome.results.measurements.query("method == 'uses_views' and metric in ('ssim', 'psr_p2_top1')")
    assert len(rows) and (rows["status"] == "method_failed").all() and rows["value"].isna().all()
    assert any("uses_views" in line and "generator planted" in line for line in outcome.problems)
    assert entries(tmp_path) == {}
    others = outcome.results.measurements.query("method == 'random_sign' and metric == 'linf_255'")
    assert (others["status"] == "ok").all()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "uses_views needs a generator: choose one with generator=NAME"),
        (["method.views=0"], "uses_views asks its generator for 0 views of a person: at least 1 is needed"),
        (["generator=arc2face"], "no weight file at|pip install|onnx"),
        (
            ["dataset.references_per_identity=0"],
            "uses_views needs a reference for its generator, which data set .* does not offer",
        ),
        (["generator.light=much"], "generator.light is much"),
        (["generator.no_such=1"], "no_such"),
    ],
)
def test_what_cannot_be_is_one_line_before_any_work(
    tmp_path: Path, faces_cache: Path, more: list[str], said: str
) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        overrides = words(tmp_path, faces_cache, *more, generator="planted" if more else "")
        describe_work(compose_config(overrides, config_dirs=[str(CONFIG_DIR)]))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "store" / "protected").exists()


@pytest.mark.slow
def test_points_of_references_are_given_to_who_asks_and_are_in_its_key(tmp_path: Path, faces_cache: Path) -> None:
    assert unit_keys(tmp_path, faces_cache).isdisjoint(unit_keys(tmp_path, faces_cache, "method.points=true"))
    outcome = go(tmp_path, faces_cache, "method.points=true")
    assert outcome.problems == []
    changed = outcome.results.measurements.query("method == 'uses_views' and metric == 'linf_255'")
    assert (changed["value"] > 0).all()


def test_a_data_set_without_points_on_references_is_refused_in_one_line(tmp_path: Path) -> None:
    faces = {
        role: cloakbench.FaceSet(
            torch.randint(0, 256, (4, 3, 112, 112), dtype=torch.uint8),
            tuple(f"{role}-{row}" for row in range(4)),
            tuple(f"{'other' if role == 'distractor' else 'person'}-{row % 2}" for row in range(4)),
        )
        for role in ("reference", "probe", "distractor")
    }
    with pytest.raises(ConfigError, match=r"uses_views needs reference landmarks, which data set .* does not offer"):
        cloakbench.evaluate(
            methods={"uses_views": {"_target_": "own_views.UsesViews", "points": True}},
            targets={"one": {"_target_": "cloakbench_test_plugins.tiny", "name": "one", "seed": 1, "family": "conv"}},
            faces=faces,
            protocols="identification",
            generator="augment",
            results=tmp_path,
            workers=0,
        )


def test_views_that_another_process_makes_are_waited_for_and_stored_ones_are_read(tmp_path: Path) -> None:
    store, photos = Store(tmp_path), torch.zeros(2, 3, 8, 8, dtype=torch.uint8) + 100
    asked = [view_inputs("digest", 2, name, 0) for name in "ab"]

    def absent() -> Generator:
        raise AssertionError("nothing was to be made")

    with store.claim(f"V{content_key(KIND, asked[1])}") as mine:
        assert mine
        assert stored_views(store, Planted, photos, asked, CPU) is None
    made = stored_views(store, Planted, photos, asked, CPU)
    again = stored_views(store, absent, photos, asked, CPU)
    assert made is not None and again is not None
    assert made.images.shape == (2, 2, 3, 8, 8) and made.images.dtype == torch.uint8
    assert torch.equal(made.images, again.images) and made.cost == again.cost
    assert not torch.equal(made.images[0], made.images[1])


def test_damaged_views_are_made_again_with_equal_bytes(tmp_path: Path) -> None:
    store, photos = Store(tmp_path), torch.zeros(1, 3, 8, 8, dtype=torch.uint8) + 100
    asked = [view_inputs("digest", 2, "a", 0)]
    made = stored_views(store, Planted, photos, asked, CPU)
    path = store.path(KIND, content_key(KIND, asked[0]), ".safetensors")
    content = path.read_bytes()
    path.write_bytes(content[:-3] + b"bad")
    again = stored_views(store, Planted, photos, asked, CPU)
    assert made is not None and again is not None and torch.equal(made.images, again.images)


def pictures(results: Path) -> dict[str, bytes]:
    """Key to pixels of all stored views."""
    store = Store(results / "store")
    keys = [Path(name).stem for name in entries(results)]
    found = {key: store.read_tensors(KIND, key) for key in keys}
    return {key: one[0]["views"].numpy().tobytes() for key, one in found.items() if one is not None}


@pytest.mark.usefixtures("report_left_out")
def test_company_changes_no_byte(tmp_path: Path, faces_cache: Path) -> None:
    """Everybody in one chunk, and everybody alone."""
    few = ("dataset.identities=2", "method.epsilon_255=8")
    found = []
    for people in (2, 1):
        results = tmp_path / str(people)
        assert go(results, faces_cache, *few, f"plan.chunk_identities={people}").problems == []
        found.append(pictures(results))
    assert len(found[0]) == 2 and found[0] == found[1]


@pytest.mark.slow
def test_company_and_workers_change_no_byte_and_a_killed_run_goes_on(tmp_path: Path, faces_cache: Path) -> None:
    """Everybody in one chunk, two workers with one person each, and a run that is killed once some views are there."""
    assert go(tmp_path / "one", faces_cache, f"plan.chunk_identities={PEOPLE}").problems == []
    expected = pictures(tmp_path / "one")
    assert len(expected) == PEOPLE
    single = ("plan.chunk_identities=1", "runtime.workers=2")
    assert go(tmp_path / "two", faces_cache, *single).problems == []
    assert pictures(tmp_path / "two") == expected

    command = [*words(tmp_path / "killed", faces_cache, *single), "--config-dir", str(CONFIG_DIR)]
    process = subprocess.Popen(
        [sys.executable, "-m", "cloakbench.bench.cli.main", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not entries(tmp_path / "killed") and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert go(tmp_path / "killed", faces_cache, *single).problems == []
    assert pictures(tmp_path / "killed") == expected
    protected = [sorted(entries(tmp_path / name, "protected")) for name in ("two", "killed")]
    assert protected[0] == protected[1]
