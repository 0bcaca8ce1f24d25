"""UTKFace: over 20 000 faces with age, gender and race in the file name; nobody is named.

Zhang, Song, Qi, "Age Progression/Regression by Conditional Adversarial Autoencoder", CVPR 2017;
https://susanqq.github.io/UTKFace/. Names are ``<age>_<gender>_<race>_<date&time>.jpg``, with ``.chip.jpg`` behind it in
the set of aligned and cropped faces (107 MB): age 0 to 116; gender 0 male, 1 female; race 0 White, 1 Black, 2 Asian,
3 Indian, 4 others. The labels were estimated by a network and checked by a person. A few published names lack a field.
Files are on a file-sharing service, behind a page and not behind an address. The 68 landmarks of the publisher are not
read.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from cloakbench.datasets.layouts.reading import absent, files_in, rejection
from cloakbench.datasets.listing import Layout, Listing

_NAME = re.compile(r"(\d{1,3})_([01])_([0-4])_\d+\.jpg(?:\.chip\.jpg)?")
_OLDEST = 116


class UtkFace(Layout):
    """Every photo is its own person; attributes ``age`` in years, ``gender`` and ``race`` with the published codes.

    A ``.jpg`` whose name does not follow the rule is rejected with the status ``bad_name``.

    Args:
        root: the folder.
        photos: folder below it with the files.
    """

    name = "utkface"
    page = "https://susanqq.github.io/UTKFace/"
    licence = "non-commercial research"
    folder = "UTKFace/<age>_<gender>_<race>_<date>.jpg.chip.jpg"
    disk_gib = 0.2  # the archive of 107 MB and what it unpacks to

    def __init__(self, root: Path, photos: str = "UTKFace") -> None:
        super().__init__(root)
        self.photos = photos

    def listing(self) -> Listing:
        folder = self.root / self.photos
        files = files_in(self, folder)
        names = sorted(name for name in files if name.lower().endswith((".jpg", ".jpeg")))
        labels: dict[str, tuple[int, ...]] = {}
        for name in names:
            match = _NAME.fullmatch(name)
            if match and int(match[1]) <= _OLDEST:
                labels[name] = tuple(int(part) for part in match.groups())
        if not labels:
            raise absent(self, folder, "holds no photo with such a name")
        note = "the name is not <age>_<gender>_<race>_<date>.jpg with known codes"
        columns = np.array(list(labels.values()), dtype=np.int16).T
        return Listing(
            list(labels),
            list(labels),
            [str(folder / name) for name in labels],
            attributes=dict(zip(("age", "gender", "race"), columns, strict=True)),
            rejected=tuple(rejection(name, "bad_name", note) for name in names if name not in labels),
            ignored=len(files) - len(names),
        )
