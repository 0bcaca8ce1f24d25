"""The claims of the papers' running text beside what was measured: claim, measured, verdict."""

from __future__ import annotations

from collections import Counter

from cloakbench.bench.report.reported.claims import Claims
from cloakbench.bench.report.reported.judgement import judge
from cloakbench.bench.report.reported.lookup import Lookup
from cloakbench.bench.report.table import Row, Table, columns

_PAPERS = {"000": "Survey", "002": "FaceCloak", "003": "Invisible-Face", "004": "Veils"}


def claims_table(lookup: Lookup, claims: Claims) -> Table:
    """Every claim that has a rule, and every ordering of tables, with its verdict; footnotes count the others."""
    rows = []
    for claim in (*claims.checked, *claims.orderings):
        found = judge(lookup, claim)
        printed = f"{claim.printed} {claim.unit}" if claim.printed else ""
        paper = f"{_PAPERS[claim.seed]}, {claim.section}" if claim.seed else claim.section
        section = "Claims of the text" if claim.seed else "Orderings in tables"
        rows.append(Row(claim.text, (paper, printed, found.measured, found.verdict, found.because), section))
    counts = Counter(claims.unchecked.values())
    others = "; ".join(f"{reason} ({count})" for reason, count in counts.most_common())
    return Table(
        name="reported_claims",
        title="Claims and orderings of the papers",
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
