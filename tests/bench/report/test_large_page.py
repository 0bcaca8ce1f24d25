"""A page of 40 methods, 12 targets and 4 budgets: no wider than its window, and sorted at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from browser import browser, chromium

from cloakbench.bench.report.contents import WholeReport
from cloakbench.bench.report.html.page import page
from cloakbench.bench.report.labels import CONTROLS
from cloakbench.bench.report.results import Results

BUDGETS = (2.0, 4.0, 8.0, 16.0)
METHODS, TARGETS = 40, 12


def copied(frame: pd.DataFrame, column: str, names: dict[str, str]) -> pd.DataFrame:
    """Rows of some names once more, under others."""
    more = frame.loc[frame[column].isin(list(names))]
    return pd.concat([frame, more.assign(**{column: more[column].map(names)})], ignore_index=True)


def enlarged(results: Results) -> Results:
    """The same with each method several times, and with more targets."""
    judges = [name for name in results.models["name"] if name in set(results.measurements["judge"])]
    twins = {name: f"{name}_again" for name in judges[: TARGETS - len(judges)]}
    measurements, models = results.measurements, results.models
    measurements = copied(measurements, "judge", twins)
    models = copied(models, "name", twins)
    own = [key for key in results.methods["key"] if key not in CONTROLS]
    methods, costs = results.methods, results.costs
    for number in range(METHODS - len(own)):
        name = {own[number % len(own)]: f"{own[number % len(own)]}_{number}"}
        measurements, costs = copied(measurements, "method", name), copied(costs, "method", name)
        methods = copied(methods, "key", name)
    return replace(results, measurements=measurements, models=models, methods=methods, costs=costs)


@pytest.mark.slow
@pytest.mark.skipif(chromium() is None, reason="Chromium is not installed")
def test_forty_methods_before_twelve_targets_at_four_budgets_stay_usable(make_results, tmp_path: Path) -> None:
    results = enlarged(make_results(budgets=BUDGETS, transforms=(), failures=False))
    report = WholeReport.of(results)
    assert len({run.method for run in report.measured.runs}) == METHODS + len(CONTROLS)
    assert len(report.measured.judges("psr_p2_top1")) == TARGETS
    path = tmp_path / "report.html"
    none = {figure.name: "not drawn" for one in report.sections for figure in one.figures}
    path.write_text(page(report, {}, none), encoding="utf-8")
    with browser(tmp_path / "profile") as shown:
        for width in (1280, 400):
            shown.open(path, width=width)
            assert shown.run("document.documentElement.scrollWidth <= innerWidth")
            assert shown.run("document.querySelectorAll('.ranking tbody tr').length") >= METHODS
        shown.open(path)
        sort = "document.querySelector('[data-key=method]').click(); document.body.offsetHeight;"
        once = f"(() => {{ const begun = performance.now(); {sort} return performance.now() - begun; }})()"
        took = min(shown.run(once) for _ in range(6))
        assert took < 200, f"{took:.0f} ms to sort"
        assert shown.complaints == []
