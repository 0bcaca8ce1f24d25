"""The claims of the papers' running text beside what was measured: claim, measured, verdict."""

from __future__ import annotations

from collections import Counter

from cloakbench.bench.report.reported.claims import Claim, Claims
from cloakbench.bench.report.reported.judgement import Judgement, judge
from cloakbench.bench.report.reported.lookup import Lookup
from cloakbench.bench.report.table import Row, Table, columns

_PAPERS = {"000": "Survey", "002": "FaceCloak", "003": "Invisible-Face", "004": "Veils"}


def claims_table(lookup: Lookup, claims: Claims) -> Table:
    """Each claim, and each ordering of tables, with its verdict.

    Footnotes count the lines that claim nothing, and the claims about protocols or methods that the run has not, with
    what no run could judge in papers that have no other claims.
    """
    lines = sorted((*claims.checked, *claims.stated), key=lambda claim: claim.line)
    found = [(claim, judge(lookup, claim)) for claim in (*lines, *claims.orderings)]
    papers = {_paper(claim) for claim, verdict in found if verdict.asked}
    shown = [pair for pair in found if pair[1].asked or (pair[1].asked is None and _paper(pair[0]) in papers)]
    taken = {claim.line for claim in lines}
    silent = Counter(reason for line, reason in claims.unchecked.items() if line not in taken)
    reasons = "; ".join(f"{reason} ({count})" for reason, count in silent.most_common())
    footnotes = [f"{silent.total()} other lines of the papers claim nothing to be checked: {reasons}."]
    if others := len(found) - len(shown):
        footnotes.append(f"{others} claims are about protocols or methods that are not in this run.")
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
        rows=tuple(_row(claim, verdict) for claim, verdict in shown),
        footnotes=tuple(footnotes),
    )


def _paper(claim: Claim) -> str:
    """The paper that claims, by the name that its section begins with if it is an ordering."""
    return _PAPERS[claim.seed] if claim.seed else claim.section.partition(",")[0]


def _row(claim: Claim, found: Judgement) -> Row:
    printed = f"{claim.printed} {claim.unit}" if claim.printed else ""
    paper = f"{_paper(claim)}, {claim.section}" if claim.seed else claim.section
    section = "Claims of the text" if claim.seed else "Orderings in tables"
    return Row(claim.text, (paper, printed, found.measured, found.verdict, found.because), section)
