"""The claims of the papers' running text beside what was measured: claim, measured, verdict."""

from __future__ import annotations

from collections import Counter

from cloakbench.bench.report.reported.claims import Claims
from cloakbench.bench.report.reported.judgement import judge
from cloakbench.bench.report.reported.lookup import Lookup
from cloakbench.bench.report.table import Row, Table, columns

_PAPERS = {"000": "Survey", "002": "FaceCloak", "003": "Invisible-Face", "004": "Veils"}


def claims_table(lookup: Lookup, claims: Claims) -> Table:
    """Every claim that has a rule, with its verdict; the footnotes count the others by their reason."""
    rows = []
    for claim in claims.checked:
        found = judge(lookup, claim)
        printed = f"{claim.printed} {claim.unit}" if claim.printed else ""
        paper = f"{_PAPERS[claim.seed]}, {claim.section}"
        rows.append(Row(claim.text, (paper, printed, found.measured, found.verdict, found.because)))
    counts = Counter(claims.unchecked.values())
    others = "; ".join(f"{reason} ({count})" for reason, count in counts.most_common())
    return Table(
        name="reported_claims",
        title="Claims of the papers' text",
        caption="Verdicts compare measured values; the last column says whether their 95 % intervals agree.",
        stub="Claim",
        columns=columns(
            source="Source",
            printed="Printed",
            measured="Measured here [95 % interval]",
            verdict="Verdict",
            because="Because",
        ),
        rows=tuple(rows),
        footnotes=(f"{len(claims.unchecked)} other lines cannot be checked: {others}.",),
    )
