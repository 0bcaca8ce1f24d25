"""A notebook as Markdown: its texts, its code, and what the code printed and drew when it was last executed."""

from __future__ import annotations

import base64
import json
import posixpath
from typing import Any

from pages.page import Page, code


def as_markdown(content: str, place: str) -> tuple[str, list[Page]]:
    """The text of a notebook that is shown at a place, and its pictures as files beside it."""
    cells = json.loads(content)["cells"]
    pictures: list[Page] = []
    parts = [f"[The notebook itself]({posixpath.basename(place).removesuffix('.md')}.ipynb)"]
    stem = place.removesuffix(".md")
    pictures.append(Page(f"{stem}.ipynb", "notebook", content.encode()))
    for cell in cells:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(text)
            continue
        parts.append(code(text, "python"))
        for output in cell.get("outputs", ()):
            parts += _output(output, stem, pictures)
    head, *rest = parts
    return "\n\n".join([rest[0], head, *rest[1:]]) + "\n", pictures


def _output(output: dict[str, Any], stem: str, pictures: list[Page]) -> list[str]:
    data = output.get("data", {})
    if "image/png" in data:
        place = f"{stem}_{len(pictures)}.png"
        pictures.append(Page(place, "picture", base64.b64decode(data["image/png"])))
        return [f"![What the cell above draws]({posixpath.basename(place)})"]
    text = "".join(output.get("text") or data.get("text/plain") or ())
    return [code(text, "text")] if text.strip() else []
