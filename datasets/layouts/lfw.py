"""Labeled Faces in the Wild: 13 233 photos of 5 749 people, 250x250, 1 680 people with two or more.

Huang, Ramesh, Berg, Learned-Miller, "Labeled Faces in the Wild: A Database for Studying Face Recognition in
Unconstrained Environments", University of Massachusetts Amherst, Technical Report 07-49, 2007;
http://vis-www.cs.umass.edu/lfw/. Its verification protocol is a list of pairs (:mod:`cloakbench.datasets.pairs`).

The publisher states no licence. Its server no longer serves everybody; the addresses tried first are the copies that
scikit-learn keeps for its own loader, with the digests of that loader.
"""

from __future__ import annotations

from pathlib import Path

from cloakbench.datasets.layouts.people import list_people
from cloakbench.datasets.listing import Layout, Listing, RemoteFile


class Lfw(Layout):
    """Photos of named people.

    Args:
        root: folder that holds the unpacked archive and ``pairs.txt``.
        photos: folder below it with one folder per person: ``lfw`` as collected, ``lfw_funneled``,
            ``lfw-deepfunneled``, or ``.`` when the people's folders lie in the root itself.
    """

    name = "lfw"
    page = "http://vis-www.cs.umass.edu/lfw/"
    licence = "none stated; made for research"
    folder = "lfw/<Name>/<Name>_0001.jpg and, for verification, pairs.txt"
    disk_gib = 0.4  # the archive of 173 MB and what it unpacks to
    files = (
        RemoteFile(
            ("https://ndownloader.figshare.com/files/5976018", "http://vis-www.cs.umass.edu/lfw/lfw.tgz"),
            "lfw.tgz",
            "055f7d9c632d7370e6fb4afc7468d40f970c34a80d4c6f50ffec63f5a8d536c0",
            unpack=True,
        ),
        RemoteFile(
            ("https://ndownloader.figshare.com/files/5976006", "http://vis-www.cs.umass.edu/lfw/pairs.txt"),
            "pairs.txt",
            "ea42330c62c92989f9d7c03237ed5d591365e89b3e649747777b70e692dc1592",
        ),
    )

    def __init__(self, root: Path, photos: str = "lfw") -> None:
        super().__init__(root)
        self.photos = photos

    def listing(self) -> Listing:
        return list_people(self, self.root / self.photos)
