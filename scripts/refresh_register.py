"""Write docs/paper-vs-code.md from results/register.yaml.

usage: python scripts/refresh_register.py            (`make register`)
"""

from __future__ import annotations

import sys
from pathlib import Path

from cloakbench.bench.report.reported.register import Disagreement, load_register

PLACE = Path(__file__).resolve().parents[1] / "docs" / "paper-vs-code.md"
HEAD = """# Paper and code

Where a paper and the code released for it disagree, and which of the two is taken here. `results/register.yaml` is what
this page is written from (`make register`) and what the caveats under printed tables are read from.

"""


def section(entry: Disagreement) -> str:
    """One disagreement."""
    lines = [
        f"## {entry.name} {entry.method}",
        "",
        f"- Paper: {entry.paper}",
        f"- Code: {entry.code}",
        f"- Here: {entry.here}",
    ]
    if entry.options:
        lines.append(f"- Settings: {', '.join(f'`{option}`' for option in entry.options)}")
    if entry.tables:
        lines.append(f"- Caveat of: {', '.join(entry.tables)}")
    return "\n".join(lines) + "\n"


def page() -> str:
    """The whole page."""
    return HEAD + "\n".join(map(section, load_register()))


def main() -> int:
    PLACE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
