"""Keep the front of a finished run as what `cloakbench protect` names as expected: keep_transfer.py results/runs/RUN"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

from cloakbench.bench.protect.defaults.expected import COLUMNS, rows_of

if __name__ == "__main__":
    rows: Any = rows_of(Path(sys.argv[1]))
    if not rows:
        sys.exit(f"{sys.argv[1]} measured no method on real faces: name a run of transfer_real")
    with Path("results/reference/transfer.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(COLUMNS), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
