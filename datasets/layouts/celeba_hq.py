"""CelebA-HQ in the CelebAMask-HQ layout: 30 000 photos of CelebA people at 1024x1024.

Karras, Aila, Laine, Lehtinen, "Progressive Growing of GANs for Improved Quality, Stability, and Variation", ICLR 2018;
Lee, Liu, Wu, Luo, "MaskGAN: Towards Diverse and Interactive Facial Image Manipulation", CVPR 2020;
https://github.com/switchablenorms/CelebAMask-HQ. The archive is on file-sharing services, behind pages and not behind
addresses. It has no identities: ``CelebA-HQ-to-CelebA-mapping.txt`` (header ``idx orig_idx orig_file``) leads to the
names in CelebA, and CelebA's ``identity_CelebA.txt``, which its publisher gives out separately, to the people.

CelebA's landmarks do not apply: the photos were aligned anew. Masks are not read.
"""

from __future__ import annotations

from pathlib import Path

from cloakbench.datasets.layouts.celeba import place_photos, read_attributes, read_identities
from cloakbench.datasets.layouts.impersonation import Impersonation
from cloakbench.datasets.layouts.reading import read_lines
from cloakbench.datasets.listing import UNKNOWN, Layout, Listing
from cloakbench.datasets.photos import DatasetError
from cloakbench.datasets.text_lists import quoted, whole_number

_MAPPING = "CelebA-HQ-to-CelebA-mapping.txt"
_MOST = 10**9


class CelebAHq(Layout):
    """Photos ``0.jpg`` to ``29999.jpg``; people, attributes and rejections as in CelebA.

    Args:
        root: the folder ``CelebAMask-HQ``, with ``identity_CelebA.txt`` put into it.
        impersonation: fixed probes and targets instead of a split.
    """

    name = "celeba_hq"
    page = "https://github.com/switchablenorms/CelebAMask-HQ"
    licence = "non-commercial research, not to be passed on"
    folder = f"CelebA-HQ-img/0.jpg, CelebAMask-HQ-attribute-anno.txt, {_MAPPING} and CelebA's identity_CelebA.txt"
    disk_gib = 6.0  # the archive, 3.15 GB with masks as its copies state, and what it unpacks to

    def __init__(self, root: Path, *, impersonation: Impersonation | None = None) -> None:
        super().__init__(root)
        self.impersonation = impersonation

    def listing(self) -> Listing:
        attributes = read_attributes(self, self.root / "CelebAMask-HQ-attribute-anno.txt")
        originals = self._originals()
        identities = read_identities(self)
        known = [name for name in attributes.names if name in originals]
        numbers = identities.aligned_to([originals[name] for name in known])[:, 0].tolist()
        people = {name: str(number) for name, number in zip(known, numbers, strict=True) if number != UNKNOWN}
        listing = place_photos(self, self.root / "CelebA-HQ-img", attributes.names, people, attributes)
        return listing if self.impersonation is None else self.impersonation.applied(listing, self.root)

    def _originals(self) -> dict[str, str]:
        """Photo to its name in CelebA."""
        path = self.root / _MAPPING
        lines = read_lines(self, path)
        if lines[0].split() != ["idx", "orig_idx", "orig_file"]:
            raise DatasetError(f"{path}, line 1: {lines[0]!r}; expected idx orig_idx orig_file")
        found = {}
        for number, line in enumerate(lines[1:], start=2):
            words = line.split()
            number_of = whole_number(words[0], _MOST) if len(words) == 3 else None
            if number_of is None:
                raise DatasetError(f"{path}, line {number}: {quoted(line)}; expected two numbers and a file")
            found[f"{number_of}.jpg"] = words[2]
        return found
