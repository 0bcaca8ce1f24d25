"""The rules of the averages."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest

from cloakbench.bench.core.axes import BudgetSize
from cloakbench.bench.report.index import DuplicateMeasurementError, Measured, Run
from cloakbench.bench.report.reporters import Plain, self_checks

PGD = Run("pgd", BudgetSize(8.0))
CLEAN = Run("identity")


def edited(results, mask, **values):
    frame = results.measurements.copy()
    for column, value in values.items():
        frame.loc[mask(frame), column] = value
    return replace(results, measurements=frame)


def test_white_box_is_left_out_of_the_mean(small):
    assert Measured(small).black_box("psr_p2_top1", PGD, "arcface").value == 0.5
    assert Measured(small).white_box("psr_p2_top1", PGD, "arcface").value == 1.0


def test_clean_row_leaves_out_the_same_targets(small):
    """0.04 on senet alone, not 0.03 over both."""
    assert Measured(small).black_box("psr_p2_top1", CLEAN, "arcface").value == 0.04


def test_same_family_stays_in_the_mean(results):
    measured = Measured(results)
    targets = [t for t in measured.judges("psr_p2_top1") if t != "arcface"]
    values = [measured.cell("psr_p2_top1", PGD, "arcface", t).value for t in targets]
    assert measured.black_box("psr_p2_top1", PGD, "arcface").value == pytest.approx(sum(values) / len(values))


@pytest.mark.parametrize("how", ["nan", "status", "absent"])
def test_incomplete_row_has_no_mean(small, how):
    def at(frame):
        return (frame.method == "pgd") & (frame.judge == "senet")

    if how == "absent":
        broken = replace(small, measurements=small.measurements[~at(small.measurements)])
        broken = replace(broken, measurements=pd.concat([broken.measurements]))
    else:
        values = {"value": math.nan} if how == "nan" else {"status": "target_failed"}
        broken = edited(small, at, **values)
    measured = Measured(broken)
    assert not measured.cell("psr_p2_top1", PGD, "arcface", "senet").ok
    mean = measured.black_box("psr_p2_top1", PGD, "arcface")
    assert not mean.ok
    assert math.isnan(mean.value)
    assert not measured.black_box("psr_p2_top1", PGD).ok
    assert measured.black_box("psr_p2_top1", CLEAN, "arcface").ok


def test_failed_cell_has_no_value_even_if_its_column_holds_one(small):
    broken = edited(small, lambda frame: frame.judge == "senet", status="skipped")
    assert math.isnan(Measured(broken).cell("psr_p2_top1", PGD, "arcface", "senet").value)


def test_interval_of_a_mean_has_the_means_of_the_ends(results):
    measured = Measured(results)
    cells = [measured.cell("psr_p2_top1", PGD, "cosface", t) for t in measured.judges("psr_p2_top1") if t != "cosface"]
    mean = measured.black_box("psr_p2_top1", PGD, "cosface")
    assert mean.low == pytest.approx(sum(cell.low for cell in cells) / len(cells))
    assert mean.high == pytest.approx(sum(cell.high for cell in cells) / len(cells))


def test_protocols_that_share_the_name_of_a_metric_report_their_own_numbers(small):
    """And the experiment's first stands where nobody in particular asks."""
    again = small.measurements.query("protocol == 'identification'").assign(protocol="again", value=0.25)
    labels = pd.concat([small.protocols, small.protocols.head(1).assign(name="again", label="again")])
    both = replace(small, measurements=pd.concat([small.measurements, again]), protocols=labels)

    class Again(Plain):
        def checks(self, index):
            return [f"{self.name}: {index.black_box('psr_p2_top1', PGD, 'arcface').value}"]

    asked = [Again(name, name, "") for name in ("identification", "again")]
    measured = Measured(both)
    assert self_checks(measured, asked) == ["identification: 0.5", "again: 0.25"]
    assert measured.seen_by("identification") is measured
    assert measured.seen_by("again").judges("psr_p2_top1") == measured.judges("psr_p2_top1")
    assert measured.seen_by("again").quality("ssim", PGD) == measured.quality("ssim", PGD)


def test_absent_cells_are_named(results):
    absent = Measured(results).absent()
    assert list(absent) == [(Run("fgsm", BudgetSize(4.0)), "cosface", "sface")]
    assert "psr_p2_top1" in absent[Run("fgsm", BudgetSize(4.0)), "cosface", "sface"]


def test_absent_cells_of_a_protocol_that_shares_the_name_of_a_metric_are_named(small):
    again = small.measurements.query("protocol == 'identification'").assign(protocol="again", value=0.25)
    again = again[(again["method"] != "pgd") | (again["judge"] != "senet") | (again["metric"] != "psr_p2_top1")]
    labels = pd.concat([small.protocols, small.protocols.head(1).assign(name="again", label="again")])
    both = replace(small, measurements=pd.concat([small.measurements, again]), protocols=labels)
    absent = Measured(both).absent()
    assert absent and {(run.method, judge) for run, _, judge in absent} == {("pgd", "senet")}
    assert {name for names in absent.values() for name in names} == {"psr_p2_top1 (again)"}


def test_cell_measured_twice_is_refused(small):
    twice = replace(small, measurements=pd.concat([small.measurements, small.measurements.head(1)]))
    with pytest.raises(DuplicateMeasurementError, match="psr_p2_top1"):
        Measured(twice)


def test_controls_come_first_and_models_keep_their_order(results):
    measured = Measured(results)
    assert [run.method for run in measured.runs[:3]] == ["identity", "random_sign", "random_sign"]
    assert measured.judges("psr_p2_top1")[:3] == ("arcface", "cosface", "sface")
    assert measured.surrogates == ("arcface", "cosface")
