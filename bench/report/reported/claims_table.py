"""The claims of the papers' running text beside what was measured: claim, measured, verdict."""

from __future__ import annotations

from collections import Counter

from cloakbench.bench.report.reported.claims import Claims
from cloakbench.bench.report.reported.judgement import judge
from cloakbench.bench.report.reported.lookup import Lookup
from cloakbench.bench.report.table import Row, Table, columns

_PAPERS = {"000": "Survey", "002": "FaceCloak", "003": "Invisible-Face", "004": "Veils"}


def claims_table(lookup: Lookup, claims: Claims) -> Table:
    """Every claim, and every ordering of tables, with its verdict; a footnote counts the lines that claim nothing."""
    rows = []
    lines = sorted((*claims.checked, *claims.stated), key=lambda claim: claim.line)
    for claim in (*lines, *claims.orderings):
        found = judge(lookup, claim)
        printed = f"{claim.printed} {claim.unit}" if claim.printed else ""
        paper = f"{_PAPERS[claim.seed]}, {claim.section}" if claim.seed else claim.section
        section = "Claims of the text" if claim.seed else "Orderings in tables"
        rows.append(Row(claim.text, (paper, printed, found.measured, found.verdict, found.because), section))
    shown = {claim.line for claim in lines}
    counts = Counter(reason for line, reason in claims.unchecked.items() if line not in shown)
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
        footnotes=(f"{counts.total()} other lines of the papers claim nothing to be checked: {others}.",),
    )
