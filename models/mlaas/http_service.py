"""`HttpService`: what the adapters of all vendors share: checks of pictures, retries, statuses, redaction, dates.

An adapter says how its requests look, what its errors mean, and how its answers are read. A request is made anew for
each try, since signatures carry the time.
"""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from cloakbench.bench.core.redaction import LEFT_OUT
from cloakbench.models.mlaas.line import ServiceLine
from cloakbench.models.mlaas.wire import NoAnswerError, NoReplyError, Reply, Request, Wire
from cloakbench.models.pictures import Picture
from cloakbench.models.services import (
    ATTRIBUTES,
    BAD_PICTURE,
    COMPARE,
    ENROL,
    FORGET,
    FOUND,
    MALFORMED,
    NO_FACE,
    NOT_OFFERED,
    OPERATIONS,
    REFUSED,
    SEARCH,
    SERVICE_FAILED,
    SETTLE,
    THROTTLED,
    TRIED_AGAIN,
    Connection,
    RemoteService,
    ServiceAnswer,
    ServiceCard,
    ServiceError,
    check_matches,
)
from cloakbench.models.transfer import retry_after_seconds

PAUSE_SECONDS = 0.5
"""Before the first retry; twice as long before each later one, spread by half of it."""
LONGEST_WAIT_SECONDS = 60.0
"""A service that asks for more patience (``Retry-After``) is given up."""
_NOTE_LETTERS = 200
_SIGNATURE = re.compile(r"\b[0-9a-f]{64}\b")
"""An HMAC, which some services repeat in what they say of a wrong one."""


class ComplaintError(Exception):
    """An exchange gave no answer.

    Attributes:
        status: what that means.
        note: what the vendor said.
        code: the vendor's own code.
        wait_seconds: patience that it asked for.
    """

    def __init__(self, status: str, note: str, code: str = "", wait_seconds: float | None = None) -> None:
        super().__init__(note)
        self.status, self.note, self.code, self.wait_seconds = status, note, code, wait_seconds


@dataclass
class Call:
    """One question underway: what was sent and what came so far."""

    calls: int = 0
    retries: int = 0
    bodies: list[str] = field(default_factory=list)
    request_id: str = ""


class HttpService(RemoteService):
    """A service over HTTP.

    Args:
        card: facts about it.
        line: how it is reached.
        connection: keys, permits and clocks of whoever asks.

    Raises:
        ServiceError: the address cannot be used.
    """

    def __init__(self, card: ServiceCard, line: ServiceLine, connection: Connection) -> None:
        self.card = card
        self._attempts = line.attempts
        self._connection = connection
        self._wire = Wire(line.base_url, line.timeout_seconds)

    @abstractmethod
    def _complaint(self, reply: Reply, body: Any) -> ComplaintError | None:
        """What is wrong with a reply in the vendor's terms; None when it is an answer.

        Args:
            reply: what came.
            body: its JSON; None where it is none.
        """

    def _request_id(self, reply: Reply, body: Any) -> str:
        """By which the vendor finds the request."""
        return ""

    # Each hook returns an answer with what it found; the rest is filled in by `_answered`. One whose operation the card
    # does not offer is never called; without `SEARCH` none of the galleries' is.
    def _compare(self, call: Call, a: Picture, b: Picture) -> ServiceAnswer:
        raise NotImplementedError

    def _found(self, call: Call, gallery: str) -> ServiceAnswer:
        raise NotImplementedError

    def _enrol(self, call: Call, gallery: str, photos: Mapping[str, Picture]) -> ServiceAnswer:
        raise NotImplementedError

    def _search(self, call: Call, gallery: str, photo: Picture, k: int) -> ServiceAnswer:
        raise NotImplementedError

    def _forget(self, call: Call, gallery: str) -> ServiceAnswer:
        raise NotImplementedError

    def _leftovers(self, call: Call, prefix: str) -> Iterable[str]:
        raise NotImplementedError

    def _attributes(self, call: Call, photo: Picture) -> ServiceAnswer:
        raise NotImplementedError

    @property
    def _host(self) -> str:
        """Host and port, as they are signed."""
        return urlsplit(self._wire.base_url).netloc

    def _settle(self, call: Call, gallery: str) -> ServiceAnswer:
        return ServiceAnswer(SETTLE)

    def compare(self, a: Picture, b: Picture) -> ServiceAnswer:
        return self._answered(COMPARE, (a, b), lambda call: self._compare(call, a, b))

    def attributes(self, photo: Picture) -> ServiceAnswer:
        return self._answered(ATTRIBUTES, (photo,), lambda call: self._attributes(call, photo))

    def search(self, gallery: str, photo: Picture, k: int) -> ServiceAnswer:
        check_matches(self.card, k)
        answer = self._answered(SEARCH, (photo,), lambda call: self._search(call, gallery, photo, k))
        return replace(answer, matches=tuple(sorted(answer.matches, key=lambda match: -match.score)))

    def found(self, gallery: str) -> ServiceAnswer:
        return self._answered(FOUND, (), lambda call: self._found(call, gallery))

    def enrol(self, gallery: str, photos: Mapping[str, Picture]) -> ServiceAnswer:
        if len(photos) > self.card.enrol_most:
            raise ServiceError(f"service {self.card.name} takes {self.card.enrol_most} pictures at once")
        refused = {name: BAD_PICTURE for name, one in photos.items() if self.card.pictures.refusal(one, ENROL)}
        taken = {name: one for name, one in photos.items() if name not in refused}
        if not taken:
            return ServiceAnswer(ENROL, outcomes=refused)
        answer = self._answered(ENROL, (), lambda call: self._enrol(call, gallery, taken))
        return replace(answer, outcomes={**answer.outcomes, **refused})

    def settle(self, gallery: str) -> ServiceAnswer:
        return self._answered(SETTLE, (), lambda call: self._settle(call, gallery))

    def forget(self, gallery: str) -> ServiceAnswer:
        return self._answered(FORGET, (), lambda call: self._forget(call, gallery))

    def leftovers(self, prefix: str) -> tuple[str, ...]:
        if SEARCH not in self.card.operations:
            return ()
        try:
            return tuple(name for name in self._leftovers(Call(), prefix) if name.startswith(prefix))
        except ComplaintError as problem:
            raise ServiceError(f"service {self.card.name}: {self._shown(problem.note)}") from None
        except _UNREADABLE:
            raise ServiceError(f"service {self.card.name}: its list of galleries cannot be read") from None

    def close(self) -> None:
        self._wire.close()

    def _answered(
        self, operation: str, pictures: tuple[Picture, ...], ask: Callable[[Call], ServiceAnswer]
    ) -> ServiceAnswer:
        """Ask, and make an answer of whatever comes."""
        offered = operation if operation in OPERATIONS else SEARCH  # what is not asked by users serves searches
        if offered not in self.card.operations:
            return ServiceAnswer(operation, NOT_OFFERED, self.card.not_offered.get(offered, ""))
        for picture in pictures:
            if why := self.card.pictures.refusal(picture, operation):
                return ServiceAnswer(operation, BAD_PICTURE, why)
        call = Call()
        try:
            answer = ask(call)
            if word := self.card.vocabulary.unknown(answer.attributes):
                raise ComplaintError(MALFORMED, f"{word} is not in the documentation")
        except ServiceError:
            raise
        except ComplaintError as problem:
            answer = ServiceAnswer(operation, problem.status, self._shown(problem.note))
        except _UNREADABLE as problem:
            answer = ServiceAnswer(operation, MALFORMED, f"the answer is not as documented: {type(problem).__name__}")
        date = datetime.fromtimestamp(self._connection.now(), UTC).isoformat(timespec="seconds")
        body = self._connection.keys.without("\n".join(call.bodies))
        counted = {"calls": call.calls, "retries": call.retries}
        return replace(answer, scale=self.card.scale, request_id=call.request_id, date=date, body=body, **counted)

    def _exchange(self, call: Call, make: Callable[[], Request], *, kept: bool = True) -> Any:
        """The JSON of an answer (None where it is empty), after as many tries as it takes.

        Args:
            call: the question that it belongs to.
            make: the request, signed anew for each try.
            kept: the answer becomes part of the body; not where it holds a token and nothing else.

        Raises:
            ComplaintError: there is none.
        """
        for attempt in range(1, self._attempts + 1):
            try:
                return self._try(call, make(), kept)
            except ComplaintError as problem:
                wait_seconds = self._pause(problem, attempt)
                if wait_seconds is None:
                    raise
            call.retries += 1
            self._connection.sleep(wait_seconds)
        raise AssertionError  # the last try has raised

    def _try(self, call: Call, request: Request, kept: bool) -> Any:
        most = self.card.pictures.request_bytes
        if most is not None and len(request.body) > most:
            raise ComplaintError(BAD_PICTURE, f"the request has {len(request.body)} bytes, at most {most} are taken")
        self._connection.permit(request.action)
        call.calls += 1
        try:
            reply = self._wire.send(request)
        except NoReplyError as problem:
            raise ComplaintError(SERVICE_FAILED, str(problem)) from None
        if kept:
            call.bodies.append(_SIGNATURE.sub(LEFT_OUT, reply.text))
        try:
            body, unreadable = (reply.json() if reply.content else None), ""
        except NoAnswerError as problem:
            body, unreadable = None, str(problem)
        call.request_id = self._request_id(reply, body) or call.request_id
        if (complaint := self._complaint(reply, body) or _by_status(reply)) is not None:
            complaint.wait_seconds = retry_after_seconds(reply.headers.get("retry-after", ""))
            raise complaint
        if unreadable:
            raise ComplaintError(MALFORMED, unreadable)
        return body

    def _pause(self, problem: ComplaintError, attempt: int) -> float | None:
        """Seconds before the next try; None when there is none."""
        if problem.status not in TRIED_AGAIN or attempt == self._attempts:
            return None
        if problem.wait_seconds is not None:
            return problem.wait_seconds if problem.wait_seconds <= LONGEST_WAIT_SECONDS else None
        return PAUSE_SECONDS * 2 ** (attempt - 1) * (0.75 + 0.5 * self._connection.draw())

    def _score(self, value: Any) -> float:
        """A score that is on the scale of the service.

        Raises:
            ComplaintError: it is not.
        """
        low, high = self.card.scale
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ComplaintError(MALFORMED, f"the score {value!r} is not from {low:g} to {high:g}")
        return float(value)

    def _shown(self, note: str) -> str:
        """What a vendor said, on one line and without secrets."""
        text = " ".join(self._connection.keys.without(_SIGNATURE.sub(LEFT_OUT, note)).split())
        return text if len(text) <= _NOTE_LETTERS else f"{text[: _NOTE_LETTERS - 3]}..."


_UNREADABLE = (KeyError, TypeError, ValueError, IndexError, AttributeError)
"""What reading an answer raises that is not as documented."""


def finite(value: Any) -> float:
    """A finite number of an answer.

    Raises:
        TypeError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def no_face(operation: str) -> ServiceAnswer:
    """The answer that there is no face."""
    return ServiceAnswer(operation, NO_FACE, "no face was found")


def outcome_of(problem: ComplaintError) -> str:
    """What became of a picture that could not be enrolled; what is the service's fault is raised again."""
    if problem.status not in (NO_FACE, BAD_PICTURE):
        raise problem
    return problem.status


def _by_status(reply: Reply) -> ComplaintError | None:
    """What an HTTP status means where the body says nothing more."""
    if reply.status < 400:
        return None
    said = f"HTTP {reply.status}"
    if reply.status == 413:
        return ComplaintError(BAD_PICTURE, f"{said}: the request is too large", "413")
    if reply.status == 429:
        return ComplaintError(THROTTLED, said, "429")
    if reply.status in (401, 403):
        return ComplaintError(REFUSED, said, str(reply.status))
    return ComplaintError(SERVICE_FAILED if reply.status >= 500 else MALFORMED, said, str(reply.status))
