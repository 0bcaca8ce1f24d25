"""Keep the front of a finished run as what `cloakbench protect` names as expected: keep_transfer.py results/runs/RUN

Rows of methods that the run did not measure stay as they were kept.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

from cloakbench.bench.protect.defaults.expected import COLUMNS, rows_of

_KEPT = Path("results/reference/transfer.csv")


def _named(row: dict[str, Any]) -> tuple[str, float]:
    return row["method"], float(row["epsilon_255"])


if __name__ == "__main__":
    rows: Any = rows_of(Path(sys.argv[1]))
    if not rows:
        sys.exit(f"{sys.argv[1]} measured no method on real faces: name a run of transfer_real")
    measured = {_named(row) for row in rows}
    rows = [{**row, **{name: f"{row[name]:.5f}" for name in ("psr", "low", "high")}} for row in rows]
    with _KEPT.open(newline="", encoding="utf-8") as stream:
        rows += [row for row in csv.DictReader(stream) if _named(row) not in measured]
    with _KEPT.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(COLUMNS), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
