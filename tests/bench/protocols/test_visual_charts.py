"""Charts and costs of methods that hide: who matches, by target, setting and transform; seconds by step."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.text import Text

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.engine import protecting
from cloakbench.bench.experiment.run import Outcome, run
from cloakbench.bench.protocols.visual.charts import chart_specs, msr_by_target, over_settings, settings_of
from cloakbench.bench.protocols.visual.figures import hidden_faces
from cloakbench.bench.protocols.visual.front import hiding_front
from cloakbench.bench.protocols.visual.index import Hidden
from cloakbench.bench.report.drawing.plotting import Skipped
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.results import RECOVERED
from cloakbench.bench.report.tables_facts import cost_table

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("pdf_left_out")]

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"


@pytest.fixture(scope="module")
def hidden(tmp_path_factory: pytest.TempPathFactory, faces_cache: Path) -> Outcome:
    """PGD on two surrogates at two lengths, and a blend that comes back; noise as a transform."""
    words = [
        "experiment=tiny_visual",
        "+model@surrogates.tiny2=tiny2",
        "~variants.keyed_blend",
        "+variants.pgd={steps: [3]}",
        "protocols.visual.recovered_views={}",
        f"paths.results={tmp_path_factory.mktemp('charts')}",
        f"paths.cache={faces_cache}",
        "runtime.workers=0",
    ]
    return run(compose_config(words, config_dirs=[str(CONFIG_DIR)]))


@pytest.fixture(scope="module")
def measured(hidden: Outcome) -> Measured:
    return Measured(hidden.results)


def test_a_run_has_each_chart_for_seen_and_unseen_photos(hidden: Outcome) -> None:
    charts = {path.stem for path in (hidden.folder / "figures").glob("visual_*.png")}
    kinds = ("faces", "targets", "settings", "transforms", "front")
    assert charts == {f"visual_{kind}{ending}" for kind in kinds for ending in ("", "_seen")}


def test_a_finding_never_names_what_is_hidden_without_who_is_matched(hidden: Outcome) -> None:
    report = (hidden.folder / "report.md").read_text(encoding="utf-8")
    [found] = [line for line in report.splitlines() if "protects most" in line]
    assert re.search(r": SSIM, protected .* \(n \d+\), with Black-box MSR .* %", found), "it has no surrogate"
    [controls] = [line for line in report.splitlines() if line.startswith("  - Without protection")]
    assert ", with Black-box MSR" in controls


def test_a_run_without_surrogates_has_no_chart_of_matching(measured: Measured) -> None:
    index = Hidden(measured, "probe")
    index.rows = [row for row in index.rows if not row.surrogate]
    assert list(chart_specs(measured, index, "probe", "", "photos")) == []


def test_a_setting_is_a_line_over_its_values_with_the_method_as_it_is_among_them(measured: Measured) -> None:
    rows = [row for row in Hidden(measured, "probe").rows if row.surrogate]
    varied = settings_of(measured, rows)
    assert set(varied) == {("pgd", "steps")}
    assert [(value, row.surrogate) for value, row in varied["pgd", "steps"]] == [
        (2.0, "tiny1"),
        (2.0, "tiny2"),
        (3.0, "tiny1"),
        (3.0, "tiny2"),
    ]


def test_what_is_drawn_is_what_was_measured(measured: Measured) -> None:
    index = Hidden(measured, "probe")
    rows = [row for row in index.rows if row.surrogate]
    figure = over_settings(measured, index, settings_of(measured, rows))
    assert not isinstance(figure, Skipped)
    white = figure.axes[0].containers[0][0].get_ydata()
    first = [row for row in rows if row.surrogate == "tiny1"]
    assert list(white) == [100 * index.mean("msr_top1", row, white_box=True).value for row in first]


def test_too_many_methods_are_left_to_the_tables(measured: Measured) -> None:
    index = Hidden(measured, "probe")
    row = next(row for row in index.rows if row.surrogate)
    many = [replace(row, run=replace(row.run, method=f"pgd{number}")) for number in range(7)]
    assert isinstance(msr_by_target(measured, index, many), Skipped)


def test_variants_with_long_names_are_told_apart_in_every_figure(hidden: Outcome) -> None:
    settings = [f"between_weight=1, variance_weight={v}, within_weight={w}" for v in (10, 100) for w in (0, 1)]
    results = hidden.results
    frame = results.measurements
    own = frame[(frame["method"] == "pgd") & (frame["variant"] == "steps=3")]
    frames = [own.assign(variant=variant) for variant in settings]
    few = Measured(replace(results, measurements=pd.concat([frame[frame["method"] != "pgd"], *frames])))
    labels = [f"pgd ({variant}) 8/255 on {surrogate}" for variant in settings for surrogate in ("tiny1", "tiny2")]
    labels += [f"pgd ({variant}, decay=2) 8/255 on {surrogate}" for variant in settings for surrogate in ("a", "b")]
    examples = [
        replace(one, protected=dict.fromkeys(labels, one.original)) if one.publication == "visual" else one
        for one in results.examples
    ]
    many = Measured(replace(results, examples=tuple(examples)))
    index = Hidden(few, "probe")
    figures = {
        "front": hiding_front(index),
        "targets": msr_by_target(few, index, [row for row in index.rows if row.surrogate]),
        "faces": hidden_faces(many, 0, 2),
    }
    for name, figure in figures.items():
        assert not isinstance(figure, Skipped)
        figure.draw_without_rendering()
        words = ["".join(one.get_text().split()) for one in figure.findobj(Text)]
        assert not any("…" in one for one in words), name
        joined = "".join(words)
        for variant in settings:
            assert variant.replace(" ", "") in joined, (name, variant)
    heads = [one.get_text() for one in figures["faces"].texts if "weight" in one.get_text()]
    assert len(heads) == len(set(heads)) == len(labels)


def test_examples_name_the_surrogate_where_a_method_has_several(hidden: Outcome) -> None:
    example = hidden.results.examples[0]
    labels = set(example.protected)
    assert {"keyed_blend", "pgd 8/255 on tiny1", "pgd 8/255 on tiny2", "pgd (steps=3) 8/255 on tiny1"} <= labels
    assert set(example.shown) == {"keyed_blend"}
    assert set(example.shown["keyed_blend"]) == {RECOVERED}


def test_seconds_are_told_apart_by_step(hidden: Outcome) -> None:
    costs = hidden.results.costs.set_index(["method", "surrogate"])
    [blend] = costs.loc["keyed_blend"].to_dict("records")
    photos, people = blend["images"], 4
    spent = photos * blend["apply_seconds_per_image"] + people * blend["fit_seconds_per_person"]
    assert blend["fit_seconds_per_person"] > 0
    assert blend["recovery_seconds_per_image"] > 0
    assert math.isclose(spent, photos * blend["seconds_per_image"])
    others = costs.drop(index="keyed_blend")
    steps = ["fit_seconds_per_person", "apply_seconds_per_image", "recovery_seconds_per_image"]
    assert others[steps].isna().all(axis=None)


def test_a_recovery_that_is_refused_is_told_under_the_costs_and_has_no_seconds(
    tmp_path: Path, faces_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("a key does not fit")

    monkeypatch.setattr(protecting, "recovered_photos", refuse)
    places = [f"paths.results={tmp_path}", f"paths.cache={faces_cache}", "runtime.workers=0"]
    few = ["~protocols.visual.methods.pgd", "~variants.keyed_blend", "dataset.identities=2", "report.figures=false"]
    words = ["experiment=tiny_visual", *few, *places]
    results = run(compose_config(words, config_dirs=[str(CONFIG_DIR)])).results
    [blend] = results.costs[results.costs["method"] == "keyed_blend"].to_dict("records")
    assert (blend["status"], blend["note"]) == ("ok", "not given back: ValueError: a key does not fit")
    assert math.isnan(blend["recovery_seconds_per_image"])
    table = cost_table(Measured(results))
    assert table is not None and table.footnotes == ("keyed_blend: not given back: ValueError: a key does not fit.",)
    measured = results.measurements.set_index(["method", "metric", "condition"])
    assert measured.loc[("keyed_blend", "hidden_ssim", "none"), "status"] == "ok", "its photos were published"


def test_one_key_for_all_photos_is_cheaper_from_some_photo_on(hidden: Outcome) -> None:
    costs = hidden.results.costs.copy()
    blend = costs["method"] == "keyed_blend"
    costs.loc[blend, ["surrogate", "fit_seconds_per_person", "apply_seconds_per_image"]] = ["tiny1", 3.0, 0.5]
    costs.loc[costs["method"] == "pgd", "seconds_per_image"] = 2.0
    costs.loc[(costs["method"] == "pgd") & (costs["variant"] != ""), "seconds_per_image"] = 0.4
    table = cost_table(Measured(replace(hidden.results, costs=costs)))
    assert table is not None
    told = {row.cells[-1] for row in table.rows}
    assert told == {"", "PGD at 8/255: 2; PGD (steps=3) at 8/255: never"}
