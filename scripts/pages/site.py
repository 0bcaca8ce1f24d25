"""All pages, their order in the navigation, and the config of the generator that renders them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from cloakbench import __version__
from pages.configs import group_pages
from pages.datasets import dataset_pages
from pages.documents import document_pages
from pages.experiments import experiment_pages
from pages.methods import method_pages
from pages.networks import network_pages
from pages.page import ROOT, Page
from pages.reference import reference_pages

GUIDE = ("index.md", "tutorial.md", "python.md", "adding.md", "cluster.md", "formats.md", "terms.md", "architecture.md")
"""Documents at the head of the navigation, in this order; the others follow by name under *Topics*."""
BEHIND = ("contributing.md", "changelog.md", "security.md")

CATALOGUE: dict[str, Callable[[], list[Page]]] = {
    "Methods": method_pages,
    "Recognisers": network_pages,
    "Data sets": dataset_pages,
    "Experiments": experiment_pages,
    "Other parts": group_pages,
}


def write_site(folder: Path) -> Path:
    """Write every page below ``folder/pages`` and the generator's config beside it; returns the config."""
    documents = document_pages()
    catalogue = {title: pages() for title, pages in CATALOGUE.items()}
    reference = reference_pages()
    for page in (*documents, *(page for pages in catalogue.values() for page in pages), *reference):
        page.write(folder / "pages")
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    config["docs_dir"] = str((folder / "pages").resolve())
    config["site_dir"] = str((ROOT / "site").resolve())
    config["site_name"] = f"CloakBench {__version__}"
    config["nav"] = navigation(documents, catalogue, reference)
    config["plugins"][-1]["mkdocstrings"]["handlers"]["python"]["paths"] = [str(ROOT / ".types")]
    written = folder / "mkdocs.yml"
    written.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return written


def navigation(documents: Sequence[Page], catalogue: dict[str, list[Page]], reference: Sequence[Page]) -> list[Any]:
    """The navigation: guide, topics, catalogue, reference, and what is about the project."""
    known = {page.place: page for page in documents}
    topics = sorted(
        place for place in known if "/" not in place and place.endswith(".md") and place not in (*GUIDE, *BEHIND)
    )
    return [
        {"Guide": [_entry(known[place]) for place in GUIDE if place in known]},
        {"Topics": [_entry(known[place]) for place in topics]},
        *({title: [_entry(page) for page in pages]} for title, pages in catalogue.items()),
        {"Reference": [_entry(page) for page in reference]},
        {"Project": [_entry(known[place]) for place in BEHIND]},
    ]


def _entry(page: Page) -> dict[str, str]:
    return {page.title: page.place}
