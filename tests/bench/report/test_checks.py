"""Each self-check fires on its fault and on nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.reporters import reporters, self_checks


def flags_of(measured: Measured) -> list[str]:
    return self_checks(measured, reporters(measured.results))


def edited(results, mask, **values):
    frame = results.measurements.copy()
    for column, value in values.items():
        frame.loc[mask(frame), column] = value
    return Measured(replace(results, measurements=frame))


def at(**fields):
    def mask(frame):
        return (frame[list(fields)] == list(fields.values())).all(axis=1)

    return mask


def test_a_sound_run_raises_no_flag(results):
    assert flags_of(Measured(results)) == []


def test_method_that_returns_its_input(results):
    flags = flags_of(edited(results, at(method="pgd", metric="linf_255", epsilon_255=4.0), value=0.0))
    assert flags == ["PGD at 4/255 returns its input: no pixel differs"]


def test_method_that_scores_like_the_clean_photo(small):
    frame = small.measurements
    clean = frame[frame.method == "identity"].set_index(["metric", "judge"])["value"]
    copied = [clean[m, t] for m, t in zip(frame["metric"], frame["judge"], strict=True)]
    same = replace(small, measurements=frame.assign(value=frame["value"].where(frame.method != "pgd", copied)))
    assert "PGD at 8/255 scores exactly like the clean photo on every target" in flags_of(Measured(same))


def test_budget_exceeded(results):
    flags = flags_of(edited(results, at(method="pgd", metric="linf_255", epsilon_255=8.0), value=16.0))
    assert flags == ["PGD at 8/255 exceeds its budget: mean Linf is 16.0 grey levels"]


def test_weak_white_box(results):
    mask = at(
        method="pgd", metric="psr_p2_top1", epsilon_255=8.0, surrogate="arcface", judge="arcface", condition="none"
    )
    flags = flags_of(edited(results, mask, value=0.72))
    assert flags == ["PGD at 8/255: white-box PSR Top-1 on arcface is only 72.0 %"]


@pytest.mark.parametrize(("low", "flagged"), [(0.2, True), (0.01, False)])
def test_control_above_the_clean_row_by_more_than_its_interval(results, low, flagged):
    mask = at(method="random_sign", metric="psr_p2_top1", epsilon_255=8.0, judge="senet", condition="none")
    flags = flags_of(edited(results, mask, value=0.3, low=low, high=0.4))
    assert bool(flags) == flagged
    assert not flags or flags[0].startswith("Random sign (control) at 8/255 protects from senet: PSR Top-1 30.0 %")


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_saturated_column(results, value):
    def mask(frame):
        method = ~frame.method.isin(["identity", "random_sign"])
        return method & (frame.metric == "psr_p2_top5") & (frame.judge == "ir50") & (frame.epsilon_255 == 4)

    flags = flags_of(edited(results, mask, value=value))
    assert flags == [f"every method at 4/255 has PSR Top-5 {100 * value:.0f} % on ir50"]
