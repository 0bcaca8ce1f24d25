"""The opening of a report: findings in sentences, contents, one ranking of all methods; and caveats of protocols."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest

from cloakbench.bench.core.axes import NO_BUDGET, BudgetSize
from cloakbench.bench.core.status import OK
from cloakbench.bench.report.decisions.columns import PAIR_COLUMNS, RANKING_COLUMNS
from cloakbench.bench.report.estimate import Estimate
from cloakbench.bench.report.index import Measured, Run
from cloakbench.bench.report.metric import Metric
from cloakbench.bench.report.opening.findings import findings, findings_markdown
from cloakbench.bench.report.opening.leads import leads
from cloakbench.bench.report.opening.ranking_table import ranking_table
from cloakbench.bench.report.reporters import Plain, reporters
from cloakbench.bench.report.results import Results
from cloakbench.bench.report.section import Headline, HeadlineRow, Quantity
from cloakbench.bench.report.table_text import to_csv, to_markdown
from cloakbench.bench.report.writer import write_report

METHODS = ("vmi_fgsm", "ti_dim", "mi_fgsm", "pgd")
METRIC = "psr_p2_top1"


def decided(results: Results) -> Results:
    """VMI-FGSM first and tied with the next, MI-FGSM and PGD apart from it and from each other; at 8/255."""
    axes = {"protocol": "identification", "metric": METRIC, "condition": "none"}
    axes |= {"ranking_epsilon_255": 8.0, "ranking_surrogate": "all"}
    rows = [
        {**axes, "method": method, "epsilon_255": 8.0, "surrogate": "all", "rank": place + 1, "group": group}
        | {"small": False, "value": 0.8 - 0.1 * place, "low": 0.7, "high": 0.9, "n_photos": 500, "n_identities": 50}
        for place, (method, group) in enumerate(zip(METHODS, ("a", "a", "b", "c"), strict=True))
    ]
    pairs = [
        {**axes, "method_a": METHODS[a], "method_b": METHODS[b], "epsilon_255_a": 8.0, "epsilon_255_b": 8.0}
        | {"surrogate_a": "all", "surrogate_b": "all", "neighbours": b == a + 1, "difference": 0.1 * (b - a)}
        | {"low": 0.05, "high": 0.15, "p": 0.01, "p_holm": 0.02, "decided": (a, b) != (0, 1)}
        | {"n_photos": 500, "n_identities": 50}
        for a in range(4)
        for b in range(a + 1, 4)
    ]
    return replace(
        results,
        rankings=pd.DataFrame(rows, columns=list(RANKING_COLUMNS)),
        pairs=pd.DataFrame(pairs, columns=list(PAIR_COLUMNS)),
    )


@pytest.fixture(scope="module")
def run(make_results: Callable[..., Results]) -> Results:
    return decided(make_results(methods=METHODS, transforms=(), failures=False))


def said(results: Results) -> list[str]:
    measured = Measured(results)
    return findings_markdown(findings(measured, leads(measured, reporters(results)), failures=2, warnings=1))


def test_findings_name_the_best_its_ties_and_what_it_is_ahead_of_for_certain(run: Results) -> None:
    first, ties, ahead, pairs, quality, controls, *_ = said(run)
    measured = Measured(run)
    best = measured.black_box(METRIC, Run("vmi_fgsm", BudgetSize(8.0)))
    assert first.startswith(
        f"- **Identification.** VMI-FGSM protects most at 8/255: Black-box Top-1 {100 * best.value:.1f} % \\["
    )
    assert first.endswith("(n 500).")
    assert ties == "  - Not told apart from it on the same photos: TI-DIM."
    assert ahead == "  - The next that it is ahead of for certain is MI-FGSM, by 20.0 points \\[5.0, 15.0\\]."
    assert pairs == "  - Of 3 pairs of neighbours, 2 are told apart."
    assert re.match(r"  - Its SSIM is 0\.8\d\d .*; over all ranked methods 0\.880 to 0\.890\.", quality)
    assert re.search(r"noise alone: .*Clean photo \d.* and|and Clean photo \d", controls)


def test_findings_say_what_to_distrust(run: Results) -> None:
    assert said(run)[-1] == (
        "- **What to distrust.** 2 entries under Failures and gaps; the self-checks raise 1 warning."
    )


def test_without_comparisons_nothing_is_called_a_tie(make_results: Callable[..., Results]) -> None:
    lines = said(make_results(methods=METHODS, transforms=(), failures=False))
    assert lines[1] == "  - Methods were not compared in pairs."
    assert not any("told apart" in line for line in lines)


GAZE = Metric("gaze", "Gaze", "photos", "mean", "s", 2, higher_protects=False)


@dataclass(frozen=True)
class Asking(Plain):
    """A protocol of somebody else, with one number for each of three methods."""

    metrics: tuple[Metric, ...] = (GAZE,)
    values: tuple[tuple[str, float, int], ...] = (("a", 3.0, 100), ("b", 1.0, 100), ("c", math.nan, 0))

    def headline(self, index: Measured) -> Headline:
        gaze = Quantity("gaze", "Gaze (s)", is_rate=False, decimals=2)
        rows = [
            HeadlineRow(Run(key), "", {gaze: Estimate(value, value - 1, value + 1, n, status=OK)})
            for key, value, n in self.values
        ]
        return Headline("gaze", "", "mean", tuple(rows), metric="gaze", caveats=("Gaze is short.",))

    def evidence(self, index: Measured, method: str) -> Mapping[str, str]:
        return {}

    def checks(self, index: Measured) -> Iterable[str]:
        return []


def test_less_may_be_better_and_a_gap_is_never_first(small: Results) -> None:
    declared = pd.DataFrame([{"protocol": "gaze", **vars(GAZE)}])
    measured = Measured(replace(small, metrics=declared))
    [lead] = leads(measured, [Asking("gaze", "Gaze", "")])
    assert [row.run.method for row in lead.rows(NO_BUDGET)] == ["b", "a"]
    assert (
        findings_markdown(findings(measured, [lead], 0, 0))[0]
        == "- **Gaze.** b protects most: Gaze (s) 1.00 \\[0.00, 2.00\\] (n 100)."
    )


def test_a_number_that_says_too_little_alone_stands_with_what_is_read_beside_it(small: Results) -> None:
    matched, unknown = Quantity("matched", "Matched"), Quantity("told", "Told")

    class Pairing(Asking):
        def headline(self, index: Measured) -> Headline:
            plain = super().headline(index)
            beside = {matched: Estimate(0.25, 0.2, 0.3, 100, status=OK), unknown: Estimate()}
            rows = tuple(replace(row, values={**row.values, **beside}) for row in plain.rows)
            return replace(plain, rows=rows, beside=(matched, unknown))

    declared = pd.DataFrame([{"protocol": "gaze", **vars(GAZE)}])
    measured = Measured(replace(small, metrics=declared))
    [lead] = leads(measured, [Pairing("gaze", "Gaze", "")])
    said = findings_markdown(findings(measured, [lead], 0, 0))[0]
    assert said.endswith("Gaze (s) 1.00 \\[0.00, 2.00\\] (n 100), with Matched 25.0 % \\[20.0, 30.0\\].")


def test_the_ranking_holds_every_method_once_with_letters_quality_and_cost(run: Results) -> None:
    measured = Measured(run)
    table = ranking_table(measured, leads(measured, reporters(run)))
    assert table is not None
    at_8 = [row for row in table.rows if row.section == "8/255"]
    at_4 = [row for row in table.rows if row.section == "4/255"]
    assert [row.label for row in at_8] == [
        "VMI-FGSM",
        "TI-DIM",
        "MI-FGSM",
        "PGD",
        "Random sign (control)",
        "Clean photo",
    ]
    assert "Clean photo" not in [row.label for row in at_4]
    lines = to_csv(table).splitlines()
    assert lines[0].startswith(
        "budget,method,identification_black_box_top1_percent,identification_black_box_top1_percent_low,"
        "identification_black_box_top1_percent_high,identification_ties,identification_n,verification_dodging_far_1e-3"
    )
    assert lines[0].endswith(",ssim,ssim_low,ssim_high,passes")
    assert [line.split(",")[5] for line in lines[1:5]] == ["a", "a", "b", "c"]
    assert lines[1].endswith(",420.000")
    assert re.search(r"\| VMI-FGSM +\| +\d+\.\d \[\d+\.\d, \d+\.\d\] \| a +\| 500", to_markdown(table))


def test_every_heading_is_among_the_contents_and_every_link_leads_to_one(run: Results, tmp_path: Path) -> None:
    write_report(run, tmp_path, figures=False)
    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", report, re.MULTILINE)[:2] == ["Findings", "Contents"]
    listed = re.findall(r"^- \[(.*)\]\(#(.*)\)$", report, re.MULTILINE)
    assert [title for title, _ in listed] == re.findall(r"^## (.*)$", report, re.MULTILINE)[2:]
    assert all(re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") == place for title, place in listed)


def test_caveats_are_those_of_the_protocols_that_asked(run: Results, tmp_path: Path) -> None:
    write_report(run, tmp_path / "all", figures=False)
    report = (tmp_path / "all" / "report.md").read_text(encoding="utf-8")
    assert report.count("White-box rates say that the optimiser works.") == 1
    assert "PSR counts every probe" in report
    only = replace(
        run,
        protocols=run.protocols[run.protocols["name"] == "quality"],
        measurements=run.measurements[run.measurements["protocol"] == "quality"],
    )
    write_report(only, tmp_path / "quality", figures=False)
    report = (tmp_path / "quality" / "report.md").read_text(encoding="utf-8")
    assert "What the numbers do and do not mean" not in report
    assert "PSR" not in report.split("## Reported beside measured")[0]


def test_the_opening_knows_no_protocol_and_no_metric_by_name() -> None:
    room = Path(__file__).parents[3] / "bench" / "report" / "opening"
    words = re.compile(r"identif|verif|poison|psr|ssim|dodg|quality_|rank-?1", re.IGNORECASE)
    code = {path.name: path.read_text(encoding="utf-8") for path in room.glob("*.py")}
    assert code
    assert {name: words.findall(text) for name, text in code.items() if words.search(text)} == {}
