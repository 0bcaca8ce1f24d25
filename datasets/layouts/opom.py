"""Privacy-Commons and Privacy-Celebrities: 500 people each, 10 photos to train a mask, 5 or 10 to test it, distractors.

Zhong, Deng, "OPOM: Customized Invisible Cloak towards Face Privacy Protection", TPAMI 2022;
https://github.com/zhongyy/OPOM, from whose scripts list names and counts are taken. Photos are aligned 112x112 crops.

======================  =============================  =============================
in the folder ``data``  Privacy-Commons                Privacy-Celebrities
======================  =============================  =============================
training list           ``privacy_train_v3_10.lst``    ``privacy_ms90w_train.lst``
test list               ``privacy_test_v3_5.lst``      ``privacy_ms90w_test.lst``
photos to test          5 per person                   10 per person
distractor list         ``common_distractor.lst``      ``lfw.txt``
distractors             10 000 of MegaFace 2           13 233 of LFW, in ``lfw_112x112``
======================  =============================  =============================

A line of a list is a path below ``data``. In ``common_distractor.lst`` it is the second word of the line, and in
``lfw.txt`` it starts in ``lfw_112x112``. People are not named: person k has lines 10k to 10k + 9 of the training list
and the same share of the test list. What the folders inside the archives are called is not published; the lists decide.
The archives are on file-sharing services, behind pages and not behind addresses.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import ClassVar

from cloakbench.bench.core.files.regular_file import leads_to_file
from cloakbench.datasets.base import ManifestEntry, Role
from cloakbench.datasets.layouts.reading import read_lines, rejection
from cloakbench.datasets.listing import Layout, Listing
from cloakbench.datasets.photos import DatasetError

_TRAIN_PER_PERSON = 10


class _Opom(Layout):
    """Roles by list: training photos are ``reference``, test photos ``probe``, all others ``distractor``.

    People are ``000``, ``001``, ...; image ids are the listed paths. A listed file that does not exist is rejected with
    the status ``missing``, a distractor that is listed before with ``duplicate``.
    """

    page = "https://github.com/zhongyy/OPOM"
    train_list: ClassVar[str]
    test_list: ClassVar[str]
    test_per_person: ClassVar[int]
    distractor_list: ClassVar[str]
    licence = "none stated; made for research"

    def listing(self) -> Listing:
        """See :class:`Layout`.

        Raises:
            DatasetError: a list is missing or malformed, the two lists differ in people, or a photo is to be both
                trained and tested on.
        """
        rows = [*self._people(self.train_list, _TRAIN_PER_PERSON, "reference")]
        tested = [*self._people(self.test_list, self.test_per_person, "probe")]
        people = [rows[-1][1], tested[-1][1]]
        if people[0] != people[1]:
            raise DatasetError(
                f"{self.root}: {self.train_list} ends with person {people[0]} and {self.test_list} with {people[1]}; "
                f"they have {_TRAIN_PER_PERSON} and {self.test_per_person} lines per person: fetch them again"
            )
        names = {name for name, _, _ in rows}
        if both := [name for name, _, _ in tested if name in names]:
            raise DatasetError(f"{self.root}: {both[0]} is in {self.train_list} and in {self.test_list}; remove one")
        names.update(name for name, _, _ in tested)
        rejected: list[ManifestEntry] = []
        rows += tested
        for name, person in self._distractors():
            if name in names:
                rejected.append(rejection(name, "duplicate", "listed before", person))
            else:
                names.add(name)
                rows.append((name, person, "distractor"))
        found = [leads_to_file(self.root / name) for name, _, _ in rows]
        kept = [row for row, there in zip(rows, found, strict=True) if there]
        gone = [row for row, there in zip(rows, found, strict=True) if not there]
        rejected += [rejection(name, "missing", "listed, but there is no such file", who) for name, who, _ in gone]
        if not kept:
            raise DatasetError(f"{self.root}: none of the listed photos is there, as {rows[0][0]}; see {self.page}")
        return Listing(
            [name for name, _, _ in kept],
            [person for _, person, _ in kept],
            [str(self.root / name) for name, _, _ in kept],
            [role for _, _, role in kept],
            rejected=tuple(rejected),
        )

    def _people(self, name: str, per_person: int, role: Role) -> Iterator[tuple[str, str, Role]]:
        path = self.root / name
        lines = read_lines(self, path)
        if len(lines) % per_person:
            raise DatasetError(f"{path} has {len(lines)} lines, not a multiple of {per_person} photos per person")
        seen = set()
        for index, line in enumerate(lines):
            photo = self._path(line, name, index + 1)
            if photo in seen:
                raise DatasetError(f"{path}, line {index + 1}: {photo} is listed twice")
            seen.add(photo)
            yield photo, f"{index // per_person:03d}", role

    def _path(self, text: str, list_name: str, line: int) -> str:
        path = PurePosixPath(text.strip())
        if not path.name or path.is_absolute() or ".." in path.parts:
            raise DatasetError(f"{self.root / list_name}, line {line}: {text!r} is not a path below the folder")
        return str(path)

    @abstractmethod
    def _distractors(self) -> Iterator[tuple[str, str]]:
        """Path and person of each distractor."""


class PrivacyCommons(_Opom):
    """People of MegaFace 2; every distractor is its own person, named like its photo."""

    name = "privacy_commons"
    train_list, test_list, test_per_person = "privacy_train_v3_10.lst", "privacy_test_v3_5.lst", 5
    distractor_list = "common_distractor.lst"
    folder = "privacy_train_v3_10.lst, privacy_test_v3_5.lst, common_distractor.lst and the folders they name"
    disk_gib = 0.1  # not published; 17 500 crops at the 5.7 kB of InsightFace's MS1M-RetinaFace

    def _distractors(self) -> Iterator[tuple[str, str]]:
        lines = read_lines(self, self.root / self.distractor_list)
        for number, line in enumerate(lines, start=1):
            words = line.split()
            if len(words) < 2:
                raise DatasetError(
                    f"{self.root / self.distractor_list}, line {number}: {line!r}; expected a number and a path"
                )
            path = self._path(words[1], self.distractor_list, number)
            yield path, path


class PrivacyCelebrities(_Opom):
    """People of MS-Celeb-1M; distractors are the people of LFW."""

    name = "privacy_celebrities"
    train_list, test_list, test_per_person = "privacy_ms90w_train.lst", "privacy_ms90w_test.lst", 10
    distractor_list = "lfw.txt"
    folder = "privacy_ms90w_train.lst, privacy_ms90w_test.lst, lfw.txt, lfw_112x112/ and the folders the lists name"
    disk_gib = 0.1  # not published; 23 233 crops at the 5.7 kB of InsightFace's MS1M-RetinaFace

    def _distractors(self) -> Iterator[tuple[str, str]]:
        for number, line in enumerate(read_lines(self, self.root / self.distractor_list), start=1):
            path = self._path(line, self.distractor_list, number)
            person = PurePosixPath(path).parent.name
            if not person:
                raise DatasetError(
                    f"{self.root / self.distractor_list}, line {number}: {line!r}; expected <Name>/<Name>_0001.jpg"
                )
            yield f"lfw_112x112/{path}", person
