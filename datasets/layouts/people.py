"""Folders of people inside a larger layout."""

from __future__ import annotations

from pathlib import Path

from cloakbench.datasets.layouts.reading import absent, rejection
from cloakbench.datasets.listing import Layout, Listing
from cloakbench.datasets.photos import DatasetError, scan


def list_people(layout: Layout, folder: Path) -> Listing:
    """The photos of ``folder/<identity>/<photo>``, by identity and name; no role, no labels.

    Raises:
        DatasetError: the folder is missing or has no identity folders.
    """
    try:
        found = scan(folder)
    except DatasetError as error:
        raise absent(layout, folder, "holds no folders of people") from error
    rejected = [rejection(f"{name}/", "no_photos", "the folder holds no photo", name) for name in found.empty]
    photos, seen = [], set()
    for photo in found.photos:
        if photo.image_id in seen:
            note = "another file has the same name after Unicode normalisation: rename it"
            rejected.append(rejection(photo.image_id, "duplicate", note, photo.identity))
        else:
            seen.add(photo.image_id)
            photos.append(photo)
    return Listing(
        [photo.image_id for photo in photos],
        [photo.identity for photo in photos],
        [str(photo.path) for photo in photos],
        rejected=tuple(rejected),
        ignored=found.ignored,
    )
