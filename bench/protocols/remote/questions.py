"""Questions about each photo: pairs with clean photos of its person, a search, its attributes.

Pictures are made when a question is due, and not before, so that memory does not grow with questions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from torch import Tensor

from cloakbench.bench.core.ranges import SettingError, one_of, whole
from cloakbench.bench.services.asking import Asker
from cloakbench.bench.services.galleries import GalleryPlan
from cloakbench.bench.services.preparing import PASTE_BACK, PictureRule
from cloakbench.datasets.base import FaceSet, FullPhoto
from cloakbench.models.pictures import Picture
from cloakbench.models.services import ATTRIBUTES, COMPARE, OPERATIONS, SEARCH, ServiceAnswer

_PICTURES_KEPT = 256


@dataclass(frozen=True)
class PhotoQuestion:
    """One question about a photo of a chunk.

    Attributes:
        photo: its place in the chunk.
        column: which of the questions of its operation.
        operation: what is asked.
        ask: asks it.
        own: name of the photo itself in the gallery, where it is there.
        mates: names of the other photos of its person in the gallery.
    """

    photo: int
    column: int
    operation: str
    ask: Callable[[Asker], ServiceAnswer]
    own: str = ""
    mates: frozenset[str] = frozenset()


@dataclass(frozen=True)
class WantedQuestions:
    """Which questions are asked: settings of the protocol.

    Attributes:
        operations: of a service.
        pairs: ``one`` clean photo of the person for each photo, or ``all``.
        mates: ``probes``, the other published photos as they were before protection; or ``references``.
        rule: how pictures are made.
        people, photos: at most so many people, and photos of each; None for all.
        distractors: photos of others in a gallery, at most; None for all.

    Raises:
        SettingError: there is no such operation, or another setting is out of range.
    """

    operations: tuple[str, ...]
    pairs: str
    mates: str
    rule: PictureRule
    people: int | None = None
    photos: int | None = None
    distractors: int | None = None

    def __post_init__(self) -> None:
        if not self.operations or set(self.operations) - set(OPERATIONS):
            raise SettingError("operations", list(self.operations), f"some of {', '.join(OPERATIONS)}, each once")
        one_of("pairs", self.pairs, ("one", "all"))
        one_of("mates", self.mates, ("probes", "references"))
        for name, most in (
            ("people", self.people),
            ("photos_each", self.photos),
            ("distractors", self.distractors),
        ):
            if most is not None:
                whole(name, most)

    def mates_of(self, faces: FaceSet) -> list[list[int]]:
        """For each photo the rows of the clean photos that it is compared with: those behind it among its person's,
        in a circle."""
        rows = faces.rows_by_identity()
        found = []
        for row, person in enumerate(faces.identity):
            own = rows[person]
            place = own.index(row)
            others = [*own[place + 1 :], *own[:place]]
            found.append(others if self.pairs == "all" else others[:1])
        return found

    def columns(self, faces: FaceSet) -> dict[str, int]:
        """How many questions of each operation there are at most about a photo."""
        most = max((len(one) for one in self.mates_of(faces)), default=0)
        return {one: max(1, most) if one == COMPARE else 1 for one in OPERATIONS if one in self.operations}

    def asked_about(self, faces: FaceSet) -> frozenset[int]:
        """Rows of the photos that are asked about."""
        rows = list(faces.rows_by_identity().values())[: self.people]
        return frozenset(row for own in rows for row in own[: self.photos])


class Questions:
    """The questions of a run to one service.

    Args:
        wanted: which.
        faces: the photos of the publication before protection.
        references: other clean photos of the same people, where there are any.
        distractors: photos of other people.
        photo: the photo that a face was cut from, by its name.
        most: faces that a search of this service gives.
        k: rank that is to be known.
    """

    def __init__(
        self,
        wanted: WantedQuestions,
        faces: FaceSet,
        references: FaceSet | None,
        distractors: FaceSet | None,
        photo: Callable[[str], FullPhoto | None],
        most: int,
        k: int,
    ) -> None:
        self._wanted, self._faces, self._photo = wanted, faces, photo
        self._asked, self._mates = wanted.asked_about(faces), wanted.mates_of(faces)
        if distractors is not None and wanted.distractors is not None:
            distractors = distractors.select(range(min(len(distractors), wanted.distractors)))
        people = {faces.identity[row] for row in self._asked}
        mates = _of_people(faces if wanted.mates == "probes" else references, people)
        self._gallery_faces = {wanted.mates: mates, "others": distractors}
        self._mate_names = _names_by_person(wanted.mates, self._gallery_faces[wanted.mates])
        self._k = min(k + (wanted.mates == "probes"), most)
        self._clean = lru_cache(maxsize=_PICTURES_KEPT)(lambda row: self.clean_picture(faces, row))
        self._plan: GalleryPlan | None = None

    def picture(self, published: Tensor, faces: FaceSet, row: int) -> Picture:
        """A photo as it is sent: the same for clean and for protected ones."""
        rule = self._wanted.rule
        photo = self._photo(faces.image_id[row]) if rule.picture == PASTE_BACK else None
        return rule.of(published, faces.images[row], photo)

    def clean_picture(self, faces: FaceSet, row: int) -> Picture:
        """A photo as it was before protection."""
        return self.picture(faces.images[row], faces, row)

    @property
    def photos(self) -> int:
        """Photos of the publication."""
        return len(self._faces)

    def first_picture(self) -> Picture:
        """A picture such as the others."""
        return self.clean_picture(self._faces, 0)

    @property
    def gallery_size(self) -> int:
        """Photos that are enrolled."""
        return sum(len(faces) for faces in self._gallery_faces.values() if faces is not None)

    def gallery(self) -> GalleryPlan:
        """What searches are made in: the photos of everybody who is asked about, and of others."""
        if self._plan is None:
            self._plan = GalleryPlan(
                {
                    f"{role} {name}": self.clean_picture(faces, row)
                    for role, faces in self._gallery_faces.items()
                    if faces is not None
                    for row, name in enumerate(faces.image_id)
                }
            )
        return self._plan

    def counts(self, rows: Sequence[int]) -> dict[str, int]:
        """How many questions there are about photos of some rows, by operation."""
        asked = [row for row in rows if row in self._asked]
        each = {COMPARE: sum(len(self._mates[row]) for row in asked), SEARCH: len(asked), ATTRIBUTES: len(asked)}
        return {one: each[one] for one in OPERATIONS if one in self._wanted.operations}

    def about(self, rows: Sequence[int], images: Tensor) -> Iterator[PhotoQuestion]:
        """The questions about photos of some rows, as they were published: uint8 ``[N, 3, H, W]``."""
        for photo, row in enumerate(rows):
            if row in self._asked:
                yield from self._about(photo, row, self.picture(images[photo], self._faces, row))

    def _about(self, photo: int, row: int, picture: Picture) -> Iterator[PhotoQuestion]:
        if COMPARE in self._wanted.operations:
            for column, mate in enumerate(self._mates[row]):
                yield PhotoQuestion(photo, column, COMPARE, _comparing(picture, self._clean(mate)))
        if SEARCH in self._wanted.operations:
            plan, k = self.gallery(), self._k
            own = f"probes {self._faces.image_id[row]}"
            mates = self._mate_names.get(self._faces.identity[row], frozenset()) - {own}
            yield PhotoQuestion(photo, 0, SEARCH, lambda asker: asker.search(plan, picture, k), own, mates)
        if ATTRIBUTES in self._wanted.operations:
            yield PhotoQuestion(photo, 0, ATTRIBUTES, lambda asker: asker.attributes(picture))


def _comparing(a: Picture, b: Picture) -> Callable[[Asker], ServiceAnswer]:
    return lambda asker: asker.compare(a, b)


def _of_people(faces: FaceSet | None, people: Collection[str]) -> FaceSet | None:
    """The photos of some people."""
    if faces is None:
        return None
    return faces.select([row for row, person in enumerate(faces.identity) if person in people])


def _names_by_person(role: str, faces: FaceSet | None) -> Mapping[str, frozenset[str]]:
    """Names in the gallery of everybody's photos."""
    if faces is None:
        return {}
    return {
        person: frozenset(f"{role} {faces.image_id[row]}" for row in own)
        for person, own in faces.rows_by_identity().items()
    }
