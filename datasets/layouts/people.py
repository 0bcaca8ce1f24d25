"""Folders of people inside a larger layout."""

from __future__ import annotations

from pathlib import Path

from cloakbench.datasets.layouts.identity_folders import IdentityFolders
from cloakbench.datasets.layouts.reading import absent
from cloakbench.datasets.listing import Layout, Listing
from cloakbench.datasets.photos import DatasetError


def list_people(layout: Layout, folder: Path) -> Listing:
    """The photos of ``folder/<identity>/<photo>``, by identity and name; no role, no labels.

    Raises:
        DatasetError: the folder is missing or has no identity folders.
    """
    try:
        return IdentityFolders(folder).listing()
    except DatasetError as error:
        raise absent(layout, folder, "holds no folders of people") from error
