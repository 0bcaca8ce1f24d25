"""`LivePage`: a run while it works, as a page that a browser opens from disk and that loads itself again."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from cloakbench.bench.core.axes import BudgetSize, row_name
from cloakbench.bench.core.escape import html
from cloakbench.bench.core.files.whole_file import whole_file
from cloakbench.bench.core.ranges import positive
from cloakbench.bench.processes.time_left import duration

PAGE = "live.html"
_STYLE = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { max-width: 60rem; margin: 0 auto; padding: 1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem; text-align: left; }
td + td + td + td { text-align: right; }
thead th { border-bottom: 1px solid; }
.failed { font-weight: bold; }
"""


@dataclass
class _Cell:
    """What is known of one cell."""

    units: int = 0
    photos: int = 0
    failed: int = 0
    seconds: float = 0.0


class LivePage:
    """Writes ``live.html`` into the run folder: what was protected so far, how long it takes, and what failed.

    Args:
        every_seconds: between two versions of the page, which a browser loads as often.

    Raises:
        SettingError: a time that is not positive.
    """

    def __init__(self, every_seconds: float = 3.0) -> None:
        self.every_seconds = positive("every_seconds", every_seconds)
        self._cells: dict[tuple[str, BudgetSize, str], _Cell] = {}

    def start(self, folder: Path, config: Mapping[str, Any]) -> None:
        self._path, self._name = folder / PAGE, str(config["name"])
        self._begun, self._written = time.monotonic(), -self.every_seconds
        self._write("at work", again=True)

    def unit(self, values: Mapping[str, Any]) -> None:
        method = row_name(str(values["method"]), str(values["variant"]))
        cell = self._cells.setdefault((method, BudgetSize.of(values["epsilon_255"]), str(values["surrogate"])), _Cell())
        cell.units += 1
        cell.photos += int(values["photos"])
        cell.failed += int(values["failed"])
        cell.seconds += float(values["seconds"])
        if time.monotonic() - self._written >= self.every_seconds:
            self._write("at work", again=True)

    def finish(self, measurements: pd.DataFrame) -> None:
        self._write("finished", again=False)

    def _write(self, state: str, *, again: bool) -> None:
        self._written = time.monotonic()
        took = duration(self._written - self._begun) or "0 s"
        reload = f'<meta http-equiv="refresh" content="{self.every_seconds:g}">' * again
        done = "" if again else '<p><a href="report.html">The report</a></p>'
        text = "\n".join(
            [
                f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">{reload}',
                '<meta name="viewport" content="width=device-width, initial-scale=1">',
                f"<title>{html(self._name)}: {state}</title><style>{_STYLE}</style></head><body>",
                f"<h1>{html(self._name)}: {state}</h1>",
                f"<p>{sum(cell.units for cell in self._cells.values())} pieces of work protected so far, after {took}. "
                "Seconds are those of one worker.</p>",
                done,
                '<div class="scroll"><table><thead><tr>',
                *(f"<th>{head}</th>" for head in ("Method", "ε", "Surrogate", "Photos", "Seconds a photo", "Failed")),
                "</tr></thead><tbody>",
                *self._rows(),
                "</tbody></table></div></body></html>\n",
            ]
        )
        with whole_file(self._path) as file:
            file.write(text.encode("utf-8", "backslashreplace"))

    def _rows(self) -> Iterable[str]:
        for (method, budget, surrogate), cell in self._cells.items():
            failed = f'<span class="failed">{cell.failed}</span>' if cell.failed else "0"
            told = (html(method), budget.text, html(surrogate), cell.photos)
            each = f"{cell.seconds / cell.photos:.3g}" if cell.photos else "–"
            yield "<tr>" + "".join(f"<td>{one}</td>" for one in (*told, each, failed)) + "</tr>"
