"""Lists for the impersonation protocol: one photo each of many people, in groups that share a target person.

The protocol of AMT-GAN (Hu et al., "Protecting Facial Privacy: Generating Adversarial Identity Masks via Style-robust
Makeup Transfer", CVPR 2022) and of the papers that follow it: 1 000 people of CelebA-HQ with one photo each, in five
groups, each group to be mistaken for one other person. The papers' own lists are not published in a form that could be
found, so a list is drawn by seed and kept; a list from elsewhere is taken in the same format.

The file is a CSV table ``image_id,identity,role,group``: a row with the role ``probe`` for each person of a group, and
rows with the role ``auxiliary`` for the photos of the group's target person.
"""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cloakbench.bench.core.files.whole_file import whole_file
from cloakbench.bench.core.random_streams import stream_seed
from cloakbench.datasets.base import Role
from cloakbench.datasets.listing import Listing
from cloakbench.datasets.photos import DatasetError
from cloakbench.datasets.text_lists import csv_rows, read_text, shown

_COLUMNS = ("image_id", "identity", "role", "group")


@dataclass(frozen=True)
class _Row:
    image_id: str
    identity: str
    role: str
    group: str


@dataclass(frozen=True)
class Impersonation:
    """Who is protected, and whom they are to be mistaken for.

    The draw is by a hash of the seed and each name: a person who is added or removed moves few others. Target people
    are drawn first, among those with enough photos, then the people of the groups; group ``k`` gets every
    ``groups``-th of them.

    Attributes:
        people: how many people are protected, one photo each; a multiple of ``groups``.
        groups: how many target people there are.
        target_photos: photos of each target person.
        impostors: how many of the other people, at most half of them, calibrate thresholds instead of being
            distractors; not in the list.
        seed: names the draw.
        file: where the list is kept; None keeps it in the data set's root, under a name with these numbers. A list that
            is there is used and checked, never drawn again.

    Raises:
        DatasetError: a number is out of range.
    """

    people: int = 1000
    groups: int = 5
    target_photos: int = 2
    impostors: int = 500
    seed: int = 0
    file: str | None = None

    def __post_init__(self) -> None:
        if min(self.people, self.groups, self.target_photos, self.impostors + 1) < 1 or self.people % self.groups:
            raise DatasetError(
                f"dataset.layout.impersonation: people={self.people}, groups={self.groups}, "
                f"target_photos={self.target_photos}, impostors={self.impostors}: all at least 1 (impostors 0), and "
                "people a multiple of groups"
            )

    def applied(self, listing: Listing, root: Path) -> Listing:
        """``listing`` with the roles ``probe``, ``auxiliary``, ``impostor`` and ``distractor`` and with ``aims``.

        The other photos of people who are on the list are left out and counted as ignored: in a gallery of strangers
        they would be mates.

        Raises:
            DatasetError: the data set is too small, or the list is malformed or belongs to other data; when a list is
                drawn, its file cannot be written.
        """
        path = self._path(root)
        rows = self._read(path, listing) if path.exists() else self._draw(listing)
        if not path.exists():
            _write(path, rows)
        roles = {row.image_id: row.role for row in rows}
        chosen = {row.identity for row in rows}
        group_target = {row.group: row.identity for row in rows if row.role == "auxiliary"}
        others = sorted(set(listing.identity) - chosen, key=lambda identity: self._rank("impostor", identity))
        impostors = set(others[: min(self.impostors, len(others) // 2)])
        kept: list[int] = []
        column: list[Role | None] = []
        for place, (image_id, identity) in enumerate(zip(listing.image_id, listing.identity, strict=True)):
            if image_id in roles:
                kept.append(place)
                column.append("probe" if roles[image_id] == "probe" else "auxiliary")
            elif identity not in chosen:
                kept.append(place)
                column.append("impostor" if identity in impostors else "distractor")
        return replace(
            listing,
            image_id=[listing.image_id[place] for place in kept],
            identity=[listing.identity[place] for place in kept],
            place=[listing.place[place] for place in kept],
            role=column,
            landmarks=None if listing.landmarks is None else listing.landmarks[kept],
            attributes={name: values[kept] for name, values in listing.attributes.items()},
            aims={row.identity: group_target[row.group] for row in rows if row.role == "probe"},
            ignored=listing.ignored + len(listing) - len(kept),
        )

    def _path(self, root: Path) -> Path:
        if self.file is not None:
            return Path(self.file).expanduser()
        return root / f"impersonation_{self.people}x{self.groups}x{self.target_photos}_seed{self.seed}.csv"

    def _draw(self, listing: Listing) -> list[_Row]:
        photos: dict[str, list[str]] = defaultdict(list)
        for image_id, identity in zip(listing.image_id, listing.identity, strict=True):
            photos[identity].append(image_id)
        ranked = sorted(photos, key=lambda identity: self._rank("person", identity))
        targets = [identity for identity in ranked if len(photos[identity]) >= self.target_photos][: self.groups]
        others = [identity for identity in ranked if identity not in set(targets)][: self.people]
        if len(targets) < self.groups or len(others) < self.people:
            raise DatasetError(
                f"dataset.layout.impersonation needs {self.groups} people with {self.target_photos} photos and "
                f"{self.people} more; there are {len(targets)} and {len(others)}: lower its numbers"
            )
        rows = []
        for number, identity in enumerate([*targets, *others]):
            is_target = number < self.groups
            names = sorted(photos[identity], key=lambda name: self._rank("photo", name))
            role, count = ("auxiliary", self.target_photos) if is_target else ("probe", 1)
            group = str((number if is_target else number - self.groups) % self.groups)
            rows += [_Row(name, identity, role, group) for name in names[:count]]
        return rows

    def _rank(self, *name: str) -> int:
        return stream_seed(self.seed, "impersonation", *name)

    def _read(self, path: Path, listing: Listing) -> list[_Row]:
        """A list that is there, checked against the data and against the numbers asked for."""
        try:
            text = read_text(path, "the impersonation list")
        except OSError as error:
            raise DatasetError(
                f"cannot read the impersonation list {path}: {error.strerror}: move it away to have one drawn"
            ) from error
        columns, content = csv_rows(text, str(path), ())
        if columns != _COLUMNS:
            raise DatasetError(f"{path}, line 1: the columns must be {','.join(_COLUMNS)}")
        people = dict(zip(listing.image_id, listing.identity, strict=True))
        rows: list[_Row] = []
        for number, row in content:
            if row["role"] not in ("probe", "auxiliary"):
                raise DatasetError(f"{path}, line {number}: expected image, person, probe or auxiliary, group")
            if people.get(row["image_id"]) != row["identity"]:
                known = people.get(row["image_id"], "nobody: there is no such photo")
                raise DatasetError(
                    f"{path}, line {number}: {shown(row['image_id'])} shows {known}, the list says "
                    f"{shown(row['identity'])}; the list belongs to other data: move it away to have one drawn"
                )
            rows.append(_Row(**row))
        self._check(path, rows)
        return rows

    def _check(self, path: Path, rows: Sequence[_Row]) -> None:
        probes = [row for row in rows if row.role == "probe"]
        auxiliary = [row for row in rows if row.role == "auxiliary"]
        targets = dict.fromkeys((row.group, row.identity) for row in auxiliary)
        sizes = {
            "protected people": (len({row.identity for row in probes}), self.people),
            "photos of protected people": (len(probes), self.people),
            "groups with a target": (len({group for group, _ in targets}), self.groups),
            "target people": (len({identity for _, identity in targets}), self.groups),
            "photos of target people": (len({row.image_id for row in auxiliary}), self.groups * self.target_photos),
            "people in the smallest group": (
                min((Counter(row.group for row in probes)[group] for group, _ in targets), default=0),
                self.people // self.groups,
            ),
        }
        for what, (found, wanted) in sizes.items():
            if found != wanted:
                raise DatasetError(f"{path} has {found} {what}, dataset.layout.impersonation asks for {wanted}")
        if both := {row.identity for row in probes} & {identity for _, identity in targets}:
            raise DatasetError(f"{path}: {min(both)} is protected and a target: no person can be both")


def _write(path: Path, rows: Sequence[_Row]) -> None:
    """Whole or not at all; of two processes that draw the same list, either may be the last."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows((row.image_id, row.identity, row.role, row.group) for row in rows)
    try:
        with whole_file(path) as file:
            file.write(text.getvalue().encode())
    except OSError as error:
        raise DatasetError(
            f"cannot keep the impersonation list at {path} ({error.strerror}): set "
            "dataset.layout.impersonation.file to a place that can be written"
        ) from error
