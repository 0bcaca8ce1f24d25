"""FaceScrub: 106 863 photos of 530 actors and actresses, published as a list of addresses.

Ng, Winkler, "A data-driven approach to cleaning large face datasets", ICIP 2014;
http://vintage.winklerbros.net/facescrub.html. The publisher gives out the lists on request, and many addresses in them
are dead, so no two copies hold the same photos: report the manifest. The layout is what its download script
(https://github.com/lightalchemist/FaceScrub) leaves behind when the two lists are fetched into ``actors`` and
``actresses``. The packing of the MegaFace challenge, ``<Name>/<Name>_<number>.png``, is ``dataset=folder``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from cloakbench.datasets.layouts.people import list_people
from cloakbench.datasets.listing import Layout, Listing
from cloakbench.datasets.photos import DatasetError


class FaceScrub(Layout):
    """Photos of named people, attribute ``gender``, 0 male (``actors``) and 1 female (``actresses``).

    Args:
        root: folder with ``actors`` and ``actresses``.
        photos: ``faces``, the crops ``<Name>_<image>_<face>.<ext>``, or ``images``, the whole photos.

    Raises:
        DatasetError: ``photos`` is something else. From ``listing``: a folder is missing, or a name is in both.
    """

    name = "facescrub"
    page = "http://vintage.winklerbros.net/facescrub.html"
    licence = "lists: on request, for research; photos: owners' rights"
    folder = "actors/faces/<Name>/<Name>_<image>_<face>.jpeg and actresses/faces/..."
    disk_gib = 1.4  # faces; not published: 106 863 crops at LFW's 13 kB

    def __init__(self, root: Path, photos: Literal["faces", "images"] = "faces") -> None:
        super().__init__(root)
        if photos not in ("faces", "images"):
            raise DatasetError(f"dataset.layout.photos is {photos!r}: it must be faces or images")
        self.photos = photos

    def listing(self) -> Listing:
        men, women = (list_people(self, self.root / group / self.photos) for group in ("actors", "actresses"))
        if both := sorted(set(men.identity) & set(women.identity)):
            raise DatasetError(f"{self.root}: {both[0]} is among the actors and the actresses; remove one folder")
        return Listing(
            [*men.image_id, *women.image_id],
            [*men.identity, *women.identity],
            [*men.place, *women.place],
            attributes={"gender": np.repeat(np.array([0, 1], dtype=np.int16), [len(men), len(women)])},
            rejected=men.rejected + women.rejected,
            ignored=men.ignored + women.ignored,
        )
