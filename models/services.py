"""`RemoteService`, the contract of a face service that is asked over a network: pictures go out, answers come back.

A service is a judge and never a surrogate: it has no gradients, each question costs money and time, and what it says
may change from one day to the next. So an answer carries its date and the version of the network behind it, and is
either a result or one of several kinds of failure that are never mixed up, and never a score.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import SystemRandom
from typing import Any
from urllib.parse import urlsplit

from cloakbench.bench.core.status import OK
from cloakbench.models.pictures import Picture, PictureLimits
from cloakbench.models.service_keys import ServiceKeys
from cloakbench.models.vocabulary import Reading, Vocabulary

NO_FACE = "no_face"
"""The service found no face in a picture: a result, counted apart from the others."""
BAD_PICTURE = "bad_picture"
"""The service does not take the picture: its format, its size, or the face is too small."""
NOT_OFFERED = "not_offered"
"""The service has no such operation; nothing was sent."""
REFUSED = "refused"
"""The key is wrong, or lacks an approval; the service is asked nothing more."""
QUOTA = "quota"
"""What the key may ask is used up; the service is asked nothing more."""
THROTTLED = "throttled"
"""Asked too fast, after every retry."""
MALFORMED = "malformed"
"""What came is no answer: cut off, of another type, or a score outside its scale."""
SERVICE_FAILED = "service_failed"
"""No answer, or an error of the service's own, after every retry."""

STATUSES = (OK, NO_FACE, BAD_PICTURE, NOT_OFFERED, REFUSED, QUOTA, THROTTLED, MALFORMED, SERVICE_FAILED)
RESULTS = frozenset({OK, NO_FACE, BAD_PICTURE})
"""What asking again would not change: such answers are kept, and never asked for twice."""
TRIED_AGAIN = frozenset({THROTTLED, SERVICE_FAILED})
"""What may pass if one waits."""
ENDS_SERVICE = frozenset({REFUSED, QUOTA})
"""After this every further question would be answered alike, and might be billed."""

COMPARE, SEARCH, ATTRIBUTES = "compare", "search", "attributes"
ENROL, FOUND, SETTLE, FORGET, LEFTOVERS = "enrol", "found", "settle", "forget", "leftovers"
OPERATIONS = (COMPARE, SEARCH, ATTRIBUTES)
"""What a user asks for; the others serve galleries."""


class ServiceError(ValueError):
    """A service cannot be asked; one line that says what to change."""


@dataclass(frozen=True)
class Thresholds:
    """Above which scores two faces count as one person.

    Attributes:
        by_far: score by false accept rate, as published; empty where the vendor publishes none.
        recommended: the score that the vendor recommends, or answers "the same" from.
        source: where they come from: ``answer`` (they belong to one answer and to no other; a card says so of a
            service whose answers carry some) or ``documentation``.
    """

    by_far: Mapping[float, float] = field(default_factory=dict, hash=False)
    recommended: float | None = None
    source: str = "documentation"


@dataclass(frozen=True)
class Match:
    """One face of a gallery that a search found.

    Attributes:
        face: the handle that `RemoteService.enrol` gave for it.
        score: on the scale of the answer.
    """

    face: str
    score: float


@dataclass(frozen=True)
class ServiceAnswer:
    """What a service said to one question.

    Attributes:
        operation: what was asked.
        status: one of `STATUSES`; nothing below is set by a failure, but ``note``, ``body``, ``request_id``, ``date``.
        note: why it is no result, in one line without secrets.
        score: of `COMPARE`, as the service gives it.
        scale: lowest and highest score.
        thresholds: where the answer itself carries them, None otherwise.
        matches: of `SEARCH`, best first.
        attributes: of `ATTRIBUTES`: ``gender``, ``age``, ``expression`` in the service's words, where it says them.
        handles: of `ENROL`: handle of each picture that is in the gallery now, by its name.
        outcomes: of `ENROL`: status of each picture by its name.
        model_version: of the network behind the service, where it says so.
        request_id: by which the vendor can find the request.
        date: when it came, UTC, ISO 8601.
        body: what came, without secrets.
        calls: requests that were sent for it, retries among them.
        retries: of these, repetitions.
    """

    operation: str
    status: str = OK
    note: str = ""
    score: float | None = None
    scale: tuple[float, float] = (0.0, 100.0)
    thresholds: Thresholds | None = None
    matches: tuple[Match, ...] = ()
    attributes: Mapping[str, Reading] = field(default_factory=dict, hash=False)
    handles: Mapping[str, str] = field(default_factory=dict, hash=False)
    outcomes: Mapping[str, str] = field(default_factory=dict, hash=False)
    model_version: str = ""
    request_id: str = ""
    date: str = ""
    body: str = ""
    calls: int = 0
    retries: int = 0

    def to_json(self) -> dict[str, Any]:
        """As plain values, from which `from_json` makes an equal answer."""
        plain = dataclasses.asdict(self)
        if self.thresholds is not None:
            plain["thresholds"]["by_far"] = sorted(self.thresholds.by_far.items())  # JSON has no numbers as names
        return plain

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> ServiceAnswer:
        """An answer from what `to_json` gave.

        Raises:
            KeyError, TypeError: it is something else.
        """
        given = dict(plain)
        if given["thresholds"] is not None:
            by_far = dict(given["thresholds"]["by_far"])
            given["thresholds"] = Thresholds(**{**given["thresholds"], "by_far": by_far})
        given["matches"] = tuple(Match(**one) for one in given["matches"])
        given["scale"] = tuple(given["scale"])
        readings = given["attributes"].items()
        given["attributes"] = {name: tuple(said) if isinstance(said, list) else said for name, said in readings}
        return cls(**given)


@dataclass(frozen=True)
class ServiceCard:
    """What a reader of a table, and a planner of calls, must know of a service.

    Attributes:
        name: key of the service in configs, records and tables.
        title: the vendor's name for it.
        host: where pictures go.
        api_version: part of every key of a stored answer.
        operations: of `OPERATIONS` those it offers.
        not_offered: why the others are missing.
        pictures: which pictures it takes.
        most_matches: the largest k of a search.
        vocabulary: what its words for attributes mean.
        enrol_most: pictures that `RemoteService.enrol` takes at once.
        scale: lowest and highest score.
        thresholds: published thresholds by operation.
        terms: page with the terms for face data.
        read_on: day on which these facts were read, ISO.
        calls_per_second: what the key may ask.
        requests_each: how many requests a question takes, or a picture that is enrolled; 1 where it is not named.
        price_per_call: by operation, in ``currency``; from the config, never from code.
        currency: of the prices.
    """

    name: str
    title: str
    host: str
    api_version: str
    operations: frozenset[str]
    pictures: PictureLimits
    most_matches: int
    terms: str
    read_on: str
    vocabulary: Vocabulary = field(default_factory=Vocabulary)
    enrol_most: int = 1
    scale: tuple[float, float] = (0.0, 100.0)
    thresholds: Mapping[str, Thresholds] = field(default_factory=dict, hash=False)
    not_offered: Mapping[str, str] = field(default_factory=dict, hash=False)
    calls_per_second: float = 1.0
    requests_each: Mapping[str, float] = field(default_factory=dict, hash=False)
    price_per_call: Mapping[str, float] = field(default_factory=dict, hash=False)
    currency: str = ""

    @property
    def on_this_machine(self) -> bool:
        """Whether no picture leaves this machine; then nobody has to allow it."""
        return is_loopback(urlsplit(f"//{self.host}").hostname or "")


def is_loopback(host: str) -> bool:
    """Whether a host, without its port, is this machine over its loopback device."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _at_once(action: str) -> None:
    """A permit that is always given."""


@dataclass(frozen=True)
class Connection:
    """What a service needs of whoever asks it, apart from its settings.

    Attributes:
        keys: which open it; never in a config.
        permit: called with the action's name before each request leaves; waits for the rate, or raises.
        now: seconds since 1970, for the dates of signatures and answers.
        sleep: waits some seconds before a retry.
        draw: a number in [0, 1) that spreads the retries of several processes.
    """

    keys: ServiceKeys
    permit: Callable[[str], None] = _at_once
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    draw: Callable[[], float] = SystemRandom().random


class RemoteService(ABC):
    """A face service. It may be asked from several threads at once.

    Galleries are kept by the service: `found` makes one under a name of ours, `enrol` fills it, `settle` is called once
    after the last picture and before the first `search`, `forget` deletes it. What fails is an answer with a status;
    exceptions are for what no question can change, such as a spent limit.
    """

    card: ServiceCard

    @abstractmethod
    def compare(self, a: Picture, b: Picture) -> ServiceAnswer:
        """How alike the faces of two pictures are."""

    @abstractmethod
    def found(self, gallery: str) -> ServiceAnswer:
        """Make an empty gallery; one that is there already under this name is taken as it is."""

    @abstractmethod
    def enrol(self, gallery: str, photos: Mapping[str, Picture]) -> ServiceAnswer:
        """Put at most ``card.enrol_most`` pictures into a gallery, each under a name of letters and digits.

        ``outcomes`` says what became of each; ``status`` is `OK` when nothing failed, whatever the pictures were.
        """

    def settle(self, gallery: str) -> ServiceAnswer:
        """Wait until what was enrolled can be searched; nothing to do for most services."""
        return ServiceAnswer(SETTLE)

    @abstractmethod
    def search(self, gallery: str, photo: Picture, k: int) -> ServiceAnswer:
        """The k faces of a gallery that are most like the one in a picture; k is at most ``card.most_matches``."""

    @abstractmethod
    def forget(self, gallery: str) -> ServiceAnswer:
        """Delete a gallery with everything in it; one that does not exist is deleted already."""

    @abstractmethod
    def leftovers(self, prefix: str) -> tuple[str, ...]:
        """Names of the galleries that begin with ``prefix``.

        Raises:
            ServiceError: they could not be listed.
        """

    @abstractmethod
    def attributes(self, photo: Picture) -> ServiceAnswer:
        """Gender, age and expression of the face in a picture, as far as the service says them."""

    def thresholds(self, operation: str, gallery_size: int = 0) -> Thresholds | None:
        """What the documentation says of scores; those that an answer carries are in the answer.

        Args:
            operation: `COMPARE` or `SEARCH`.
            gallery_size: faces that are searched.
        """
        known = self.card.thresholds.get(operation)
        return None if known is None or known.source == "answer" else known

    @abstractmethod
    def close(self) -> None:
        """Drop the connections."""


def check_matches(card: ServiceCard, k: int) -> None:
    """Refuse a search for more than a service gives.

    Raises:
        ServiceError: so it is.
    """
    if not 1 <= k <= card.most_matches:
        raise ServiceError(f"service {card.name}: a search gives 1 to {card.most_matches} faces, not {k}")
