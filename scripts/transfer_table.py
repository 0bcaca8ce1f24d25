"""The table of a search for transfer, as docs/transfer.md has it: transfer_table.py results/runs/RUN [METRIC]

Every setting with its black-box mean, its paired difference from the base, picture quality and passes. The base is
`eot_ensemble`; intervals are over people, 95 %.
"""

from __future__ import annotations

import sys
from pathlib import Path

from cloakbench.bench.protocols.identification.front import passes
from cloakbench.bench.report.archive import load_results
from cloakbench.bench.report.decisions.ranking import Ranking, ranking_of
from cloakbench.bench.report.index import Measured, Place, Run, is_control
from cloakbench.bench.report.labels import UNTRANSFORMED

_BASE = "eot_ensemble"


def lines(folder: Path, metric: str) -> list[str]:
    """Markdown, best first; controls last."""
    results = load_results(folder)
    measured = Measured(results)
    base = next(run for run in measured.runs if run.method == _BASE)
    ranking = ranking_of(results, Place("identification", metric, UNTRANSFORMED), base.budget)
    spent: dict[Run, list[float]] = {}
    for one, count in passes(measured).items():
        spent.setdefault(one.run, []).append(count)
    rated = [(run, measured.black_box(metric, run)) for run in measured.runs]
    rated.sort(key=lambda pair: (is_control(pair[0]), -pair[1].value))
    found = [f"| Setting | {metric} | less the base | SSIM | Passes |", "| --- | --: | --: | --: | --: |"]
    for run, rate in rated:
        number = f"{100 * rate.value:.1f} [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"
        ssim = measured.quality("ssim", run).value
        mean = sum(spent[run]) / len(spent[run]) if run in spent else 0
        found.append(
            f"| {measured.title(run.method)} | {number} | {_apart(ranking, run, base)} | {ssim:.3f} | {mean:.0f} |"
        )
    return found


def _apart(ranking: Ranking | None, run: Run, base: Run) -> str:
    """The difference from the base and its paired interval, in points."""
    pair = None if ranking is None or run == base else ranking.comparison(run, base)
    if pair is None:
        return ""
    turn = 100 if pair.first.run == run else -100
    low, high = sorted((turn * pair.estimate.low, turn * pair.estimate.high))
    return f"{turn * pair.estimate.value:+.1f} [{low:+.1f}, {high:+.1f}]"


if __name__ == "__main__":
    print(*lines(Path(sys.argv[1]), (sys.argv[2:] or ["psr_p2_top1"])[0]), sep="\n")  # noqa: T201
