"""Write the pages of the documentation's site and the config that renders them.

usage: python scripts/write_pages.py FOLDER            (`make docs`)
"""

from __future__ import annotations

import sys
from pathlib import Path

from pages.site import write_site


def main(words: list[str]) -> int:
    if len(words) != 1:
        sys.stderr.write("usage: python scripts/write_pages.py FOLDER\n")
        return 2
    sys.stdout.write(f"{write_site(Path(words[0]))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
