"""Execute a notebook in place, in an empty folder, and keep what its cells printed and drew.

usage: python scripts/execute_notebook.py docs/tutorial.ipynb            (`make notebook`)
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def main(words: list[str]) -> int:
    path = Path(words[0])
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as empty:
        NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": empty}}).execute()
    for cell in notebook.cells:
        cell.metadata.clear()  # times of execution, which differ each time
    notebook.metadata.pop("widgets", None)
    nbformat.write(notebook, path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
