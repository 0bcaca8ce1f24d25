"""Figures draw from what there is, and say why they do not."""

from __future__ import annotations

from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from cloakbench.bench.protocols.identification import figures, heat_map, robustness_by_target, trade_off
from cloakbench.bench.protocols.identification.ranks import Ranks
from cloakbench.bench.protocols.quality import faces
from cloakbench.bench.protocols.recognition.conditions import families_of
from cloakbench.bench.report.decisions.who_knows import run_of
from cloakbench.bench.report.drawing.plotting import Skipped, figure_bytes
from cloakbench.bench.report.estimate import Estimate
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.reporters import reporters
from cloakbench.bench.report.section import FigureSpec

RANKS = Ranks("p2", (1, 5, 10))


def figures_of(measured: Measured) -> dict[str, FigureSpec]:
    """File stem to figure, of every protocol of a run."""
    sections = [section for one in reporters(measured.results) for section in one.sections(measured)]
    return {figure.name: figure for section in sections for figure in section.figures}


@pytest.fixture(scope="module")
def measured(results) -> Measured:
    return Measured(results)


@pytest.mark.parametrize("name", ["psr_dots", "psr_ssim", "transfer", "robustness", "faces"])
def test_every_figure_draws(measured, name):
    before = dict(mpl.rcParams)
    assert isinstance(figures_of(measured)[name].draw(), Figure)
    assert dict(mpl.rcParams) == before


def test_missing_data_is_a_reason_not_an_empty_picture(small):
    bare = Measured(small)
    reasons = {name: figure.draw() for name, figure in figures_of(bare).items()}
    assert isinstance(reasons["transfer"], Figure)
    assert reasons["psr_ssim"] == Skipped("identification rates or SSIM were not measured")
    assert reasons["robustness"] == Skipped("the run has no transforms")
    assert reasons["budget"] == Skipped("the run has fewer than 3 budgets")
    assert reasons["trade_off"] == Skipped("identification rates or SSIM were not measured")
    assert reasons["robustness_by_target"] == Skipped("the run has no transforms")
    assert reasons["faces"] == Skipped("the run stored no example photos")


def test_scatter_has_a_point_for_every_complete_method_and_budget(measured):
    figure = figures.psr_against_ssim(measured, RANKS)
    assert isinstance(figure, Figure)
    points = figure.axes[0].containers
    complete = [run for run in measured.runs if measured.black_box("psr_p2_top1", run).ok]
    assert len(points) == len(complete) == 19


def test_heat_map_marks_white_box_and_prints_every_rate(measured):
    figure = heat_map.transfer_heat_map(measured, RANKS)
    panel = figure.axes[0]
    assert len(panel.texts) == 11 * 8
    assert sum(patch.get_hatch() is not None for patch in panel.patches) == 9


def test_lines_break_at_gaps(make_results):
    """FGSM at 4/255 lost a target on one surrogate: the black-box line has no point there."""
    measured = Measured(make_results(methods=("pgd", "fgsm"), budgets=(2.0, 4.0, 8.0)))
    panels = figures.budget_curves(measured, RANKS).axes
    assert [panel.get_title().split("\n")[0] for panel in panels] == ["Random sign (control)", "FGSM", "PGD"]
    black = [panel.lines[0].get_ydata() for panel in panels]
    assert [np.isnan(line).tolist() for line in black] == [[False] * 3, [False, True, False], [False] * 3]


def test_difference_is_ten_times_about_mid_grey():
    original = np.full((3, 2, 2), 100, np.uint8)
    protected = original.copy()
    protected[0, 0, 0], protected[0, 0, 1], protected[0, 1, 0] = 108, 92, 255
    assert faces.difference_picture(original, protected)[0].tolist() == [[208, 48], [255, 128]]


def test_face_without_a_protected_photo_is_labelled(measured):
    face = measured.results.examples[0]
    broken = replace(face, protected=dict(list(face.protected.items())[:1]))
    results = replace(measured.results, examples=(face, broken))
    figure = faces.image_grid(Measured(results))
    words = [text.get_text() for axis in figure.axes for text in axis.texts]
    shown = [label for label in face.protected if label != "identity"]
    assert words.count("failed") == len(shown) - len(set(shown) & set(broken.protected))
    assert words.count("difference\n×10") == 2


def test_a_face_has_its_mean_cosine_before_recognisers_that_were_not_attacked(make_results):
    results = make_results(methods=("pgd",), budgets=(8.0,))
    example, measured = results.examples[0], Measured(results)
    (label,) = (label for label in example.protected if label.startswith("pgd"))
    run, surrogate = run_of(measured, label)
    white, black = (measured.judges_of("psr_p2_top1", surrogate, white_box=flag) for flag in (True, False))
    said = dict.fromkeys(white, 0.9) | dict.fromkeys(black, 0.2)
    said[black[0]] += 0.1 * len(black)
    assert white and black
    lines = {
        "image_id": example.image_id,
        "method": run.method,
        "variant": "",
        "epsilon_255": 8.0,
        "surrogate": surrogate,
        "protocol": "identification",
        "recognised": True,
        "recognised_clean": True,
        "bar": 0.1,
    }
    rows = pd.DataFrame([{**lines, "judge": judge, "similarity": value} for judge, value in said.items()])
    figure = faces.image_grid(Measured(replace(results, sightings=rows)))
    words = [text.get_text() for axis in figure.axes for text in axis.texts if "SSIM" in text.get_text()]
    assert words[0].endswith(" dB\ncos 0.30") and sum("cos" in text for text in words) == 1
    rows.loc[rows["judge"] == black[-1], "similarity"] = np.nan
    figure = faces.image_grid(Measured(replace(results, sightings=rows)))
    assert not any("cos" in text.get_text() for axis in figure.axes for text in axis.texts)


def test_pdf_embeds_fonts_and_carries_no_date(measured):
    content = figure_bytes(heat_map.transfer_heat_map(measured, RANKS), ".pdf")
    assert b"FontFile2" in content
    assert b"CreationDate" not in content


def test_the_trade_off_has_a_curve_for_each_method_and_a_panel_for_each_box(make_results):
    measured = Measured(make_results(methods=("pgd", "mi_fgsm"), budgets=(2.0, 4.0, 8.0)))
    figure = trade_off.trade_off(measured, RANKS)
    assert isinstance(figure, Figure)
    assert [panel.get_title() for panel in figure.axes[:2]] == [
        "On the surrogate itself",
        "Transferred to other networks",
    ]
    assert [len(panel.containers) for panel in figure.axes[:2]] == [2, 2]
    two = Measured(make_results(methods=("pgd",), budgets=(4.0, 8.0)))
    assert trade_off.trade_off(two, RANKS) == Skipped("no method has rates and SSIM at 3 budgets")
    assert trade_off.equal_ssim_tables(two, RANKS) == []


def test_rates_at_equal_ssim_lie_on_the_line_between_two_budgets():
    estimates = [Estimate(value, value - 0.01, value + 0.01, 10, status="ok") for value in (0.98, 0.96, 0.90)]
    rates = [Estimate(value, value - 0.1, value + 0.1, 10, status="ok") for value in (0.2, 0.4, 0.7)]
    curve = trade_off.Curve((), tuple(estimates), tuple(rates))
    found = trade_off.at_ssim(curve, 0.97)
    assert (found.value, found.low, found.high) == pytest.approx((0.3, 0.2, 0.4))
    assert trade_off.at_ssim(curve, 0.93).value == pytest.approx(0.55)
    assert not trade_off.at_ssim(curve, 0.89).ok
    assert not trade_off.at_ssim(curve, 0.99).ok


def test_a_curve_that_turns_back_has_its_best_rate_at_an_ssim():
    ssim = [Estimate(value, n=10, status="ok") for value in (0.695, 0.705, 0.60)]
    rates = [Estimate(value, value - 0.1, value + 0.1, 10, status="ok") for value in (0.5, 0.6, 0.8)]
    assert trade_off.at_ssim(trade_off.Curve((), tuple(ssim), tuple(rates)), 0.70).value == pytest.approx(
        0.6095, abs=1e-4
    )


def test_rates_at_equal_ssim_have_columns_and_intervals_wherever_two_curves_are(make_results):
    measured = Measured(make_results(methods=("pgd", "mi_fgsm"), budgets=(2.0, 4.0, 8.0)))
    (table,) = trade_off.equal_ssim_tables(measured, RANKS)
    assert 2 <= len(table.columns) <= 6
    assert all(column.interval == "always" for column in table.columns)
    low = replace(measured.results, measurements=_darker(measured.results.measurements, 0.5))
    (lower,) = trade_off.equal_ssim_tables(Measured(low), RANKS)
    assert all(0.2 < float(column.label.split()[1]) < 0.5 for column in lower.columns)


def _darker(frame, factor):
    """Every SSIM times a factor."""
    ssim = frame["metric"] == "ssim"
    return frame.assign(**{name: frame[name].where(~ssim, frame[name] * factor) for name in ("value", "low", "high")})


def test_robustness_by_target_has_a_line_for_each_target_and_a_panel_for_each_transform(make_results):
    measured = Measured(make_results(methods=("pgd",)))
    figure = robustness_by_target.robustness_by_target(measured, RANKS)
    assert isinstance(figure, Figure)
    panels = [panel for panel in figure.axes if panel.get_title()]
    assert len(panels) == len(families_of(measured, RANKS.first))
    assert {len(panel.containers) for panel in panels} == {len(measured.judges(RANKS.first))}
    assert {line.get_linestyle() for panel in panels for line, *_ in panel.containers} == {"-"}
    kinds = measured.results.conditions.assign(strength=np.nan)
    unordered = robustness_by_target.robustness_by_target(Measured(replace(measured.results, conditions=kinds)), RANKS)
    assert isinstance(unordered, Figure)
    assert {line.get_linestyle() for panel in unordered.axes for line, *_ in panel.containers} == {"None"}


def test_pictures_of_how_a_mask_was_made_stand_beside_it(measured):
    first, *others = measured.results.examples
    label = next(label for label in first.protected if label.startswith("pgd"))
    shown = {label: {"stickers": first.original, "seed_photo": first.original}}
    told = Measured(replace(measured.results, examples=(replace(first, shown=shown), *others)))
    figure = figures_of(told)["made_of"].draw()
    assert isinstance(figure, Figure)
    heads = ["Photo", "Stickers", "Seed photo", "Mask × 10", "Protected"]
    assert [words.get_text().replace("\n", " ") for words in figure.texts][:5] == heads
    assert len(figure.axes) == len(heads)
    nothing = Skipped("no method of the run gives pictures of how its masks are made")
    assert figures_of(measured)["made_of"].draw() == nothing
