"""`Galleries`: what a run keeps in a service, noted before it is made, filled as far as it is needed, deleted in any
case.

A gallery is named after the run and its content. Before the service hears of it a note is in the store, and after each
batch of photos it says which are enrolled; so a run that was killed goes on filling where it stood, and whoever cleans
up knows what is left even of a run that never came back.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cloakbench.bench.core.files.file_lock import exclusive
from cloakbench.bench.core.files.whole_file import whole_file
from cloakbench.bench.core.status import OK
from cloakbench.models.pictures import Picture
from cloakbench.models.services import RemoteService, ServiceAnswer

log = logging.getLogger(__name__)

PREFIX = "cb_"
"""Galleries of this project begin so, for every vendor takes it and nobody else's do."""
_DIGITS = 8


class NoGalleryError(Exception):
    """A gallery could not be filled; ``answer`` says why."""

    def __init__(self, answer: ServiceAnswer) -> None:
        super().__init__(answer.note)
        self.answer = answer


@dataclass(frozen=True)
class GalleryPlan:
    """What a gallery is to hold: pictures by the names of their photos, in order."""

    photos: Mapping[str, Picture] = field(hash=False)

    @property
    def digest(self) -> str:
        """Of the content: photos in order, each with its picture."""
        lines = [f"{name} {picture.digest}" for name, picture in self.photos.items()]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]


@dataclass
class FilledGallery:
    """A gallery as far as it is filled.

    Attributes:
        name: in the service.
        handles: of the service, by the place of a photo in the plan.
        outcomes: status of each photo that was sent, by its place.
        perhaps_twice: photos that were sent again since no reply came; the service may have them twice.
        ready: everything was sent, and the service has been told.
    """

    name: str
    handles: dict[str, str] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)
    perhaps_twice: int = 0
    ready: bool = False

    def photo(self, plan: GalleryPlan, face: str) -> str | None:
        """The photo behind a handle; None for one that nobody enrolled."""
        places = {handle: place for place, handle in self.handles.items()}
        place = places.get(face)
        return None if place is None else list(plan.photos)[int(place[1:])]


class Galleries:
    """The galleries of one run in one service.

    Args:
        service: that keeps them.
        folder: of their notes, the same for all runs with this service.
        run: names the run.
    """

    def __init__(self, service: RemoteService, folder: Path, run: str) -> None:
        self._service, self._folder = service, folder
        self._run = hashlib.sha256(run.encode()).hexdigest()[:_DIGITS]
        self._filling = threading.Lock()
        self._known: dict[str, FilledGallery] = {}

    def filled(self, plan: GalleryPlan) -> FilledGallery:
        """The gallery of a plan; of several threads and processes one fills it.

        Raises:
            NoGalleryError: the service failed.
        """
        name = f"{PREFIX}{self._run}_{plan.digest[:_DIGITS]}"
        with self._filling:
            if (known := self._known.get(name)) is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                with exclusive(
                    self._note(name).with_suffix(".lock"), f"filling a gallery of {self._service.card.name}"
                ):
                    known = self._known[name] = self._fill(name, plan)
            return known

    def forget(self) -> None:
        """Delete the galleries of this run; what the service does not delete now stays noted, with a warning."""
        for name in list(self.names()):
            if name.startswith(f"{PREFIX}{self._run}_"):
                self._forget(name)

    def clean(self) -> tuple[str, ...]:
        """Delete every gallery of this project in the service, of whatever run; the names of those that are gone.

        Raises:
            ServiceError: they could not be listed.
        """
        names = dict.fromkeys((*self._service.leftovers(PREFIX), *self.names()))
        return tuple(name for name in names if self._forget(name))

    def names(self) -> Iterator[str]:
        """Names of the galleries that are noted, of whatever run."""
        yield from sorted(path.stem for path in self._folder.glob(f"{PREFIX}*.json"))

    def _forget(self, name: str) -> bool:
        answer = self._service.forget(name)
        if answer.status != OK:
            log.warning("gallery %s of %s is not deleted: %s", name, self._service.card.name, answer.note)
            return False
        self._note(name).unlink(missing_ok=True)
        self._known.pop(name, None)
        return True

    def _fill(self, name: str, plan: GalleryPlan) -> FilledGallery:
        gallery = self._read(name) or FilledGallery(name)
        if gallery.ready:
            return gallery
        most = self._service.card.enrol_most
        if self._note(name).exists():
            gallery.perhaps_twice += most  # somebody was filling it, and did not note what was underway
        self._write(gallery)
        if not gallery.outcomes:
            self._must(self._service.found(name))
        places = {f"p{number}": picture for number, picture in enumerate(plan.photos.values())}
        missing = [(place, picture) for place, picture in places.items() if place not in gallery.outcomes]
        for begin in range(0, len(missing), most):
            answer = self._must(self._service.enrol(name, dict(missing[begin : begin + most])))
            gallery.handles |= answer.handles
            gallery.outcomes |= answer.outcomes
            gallery.perhaps_twice += answer.retries
            self._write(gallery)
        self._must(self._service.settle(name))
        gallery.ready = True
        self._write(gallery)
        return gallery

    def _must(self, answer: ServiceAnswer) -> ServiceAnswer:
        if answer.status != OK:
            raise NoGalleryError(answer)
        return answer

    def _note(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _read(self, name: str) -> FilledGallery | None:
        try:
            plain: Any = json.loads(self._note(name).read_bytes())
            return FilledGallery(**plain)
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def _write(self, gallery: FilledGallery) -> None:
        with whole_file(self._note(gallery.name), durable=False) as file:
            file.write(json.dumps(vars(gallery), indent=1).encode())
