"""`Asker`: asks a service what is not stored yet, within its limits, and stops when there is no use in going on."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, TypeVar

from cloakbench.bench.services.galleries import FilledGallery, Galleries, GalleryPlan, NoGalleryError
from cloakbench.bench.services.journal import Journal, JournalRecord, ServiceQuestion
from cloakbench.bench.services.spending import POSSIBLY_BILLED, RETRY, Spending
from cloakbench.models.pictures import Picture
from cloakbench.models.services import (
    ATTRIBUTES,
    COMPARE,
    ENDS_SERVICE,
    ENROL,
    FORGET,
    NOT_OFFERED,
    REFUSED,
    SEARCH,
    Match,
    RemoteService,
    ServiceAnswer,
    ServiceError,
    check_matches,
)

Asked = TypeVar("Asked")

_NOT_SENT = "not_sent"
"""In the journal: it was noted, and did not leave."""


class NotStoredError(ServiceError):
    """A replay needs an answer that nobody has given."""


@dataclass
class Tally:
    """What a run did with a service.

    Attributes:
        stored: answers that were there already.
        asked: questions that were asked, by the status that came.
        retries: repetitions of requests.
        possibly_billed: questions that were asked again since nothing came of the try before.
    """

    stored: int = 0
    asked: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    possibly_billed: int = 0


class Asker:
    """One service, its journal, its limits and its galleries. May be used by several threads.

    Args:
        service: that is asked; in a replay it may have no keys.
        journal: of what was asked before.
        spending: whose `Spending.permit` is in the connection of the service; keeps back what deleting takes.
        galleries: of this run; those of a replay are never filled.
        replay: open no connection; a question without an answer is an error.
        expire: answers from before that day are asked for anew.
    """

    def __init__(
        self,
        service: RemoteService,
        journal: Journal,
        spending: Spending,
        galleries: Galleries,
        *,
        replay: bool = False,
        expire: date | None = None,
    ) -> None:
        self._service, self._journal, self._spending, self._galleries = service, journal, spending, galleries
        self._replay, self._expire = replay, expire
        spending.held_back = lambda: len(galleries.of_this_run())
        self._lock, self._first = threading.Lock(), threading.Lock()
        self._opened = False
        self.tally = Tally()
        self.ended: ServiceAnswer | None = None
        """The answer after which nothing more is asked; None while all is well."""

    def compare(self, a: Picture, b: Picture) -> ServiceAnswer:
        """How alike two faces are."""
        question = self.question(COMPARE, (a, b))
        return self._answer(question, lambda: self._service.compare(a, b))

    def attributes(self, photo: Picture) -> ServiceAnswer:
        """What a face looks like."""
        return self._answer(self.question(ATTRIBUTES, (photo,)), lambda: self._service.attributes(photo))

    def search(self, plan: GalleryPlan, photo: Picture, k: int) -> ServiceAnswer:
        """The k photos of a gallery that are most like a picture; ``Match.face`` is the name of a photo in the plan.

        The gallery is filled when the first search has no stored answer.

        Raises:
            ServiceError: the service does not give so many.
        """
        check_matches(self._service.card, k)
        parameters = {"gallery": plan.digest, "k": k}

        def filled() -> FilledGallery:
            with self._spending.on(ENROL):
                return self._galleries.filled(plan)

        def ask() -> ServiceAnswer:
            gallery = filled()
            asked = min(k + gallery.perhaps_twice, self._service.card.most_matches)
            answer = self._service.search(gallery.name, photo, asked)
            best: dict[str, float] = {}
            for match in answer.matches:
                if (name := gallery.photo(plan, match.face)) is not None:
                    best.setdefault(name, match.score)  # matches come best first
            return replace(answer, matches=tuple(Match(name, score) for name, score in list(best.items())[:k]))

        return self._answer(self.question(SEARCH, (photo,), parameters), ask, filled)

    def is_stored(self, question: ServiceQuestion) -> bool:
        """Whether an answer is there."""
        return self._journal.answer(question, self._expire) is not None

    def close(self) -> None:
        """Delete the galleries of the run, and drop the connections; with a wrong key nothing can be deleted."""
        if not (self._replay or (self.ended is not None and self.ended.status == REFUSED)):
            with self._spending.on(FORGET):
                self._galleries.forget()
        self._service.close()

    def question(
        self, operation: str, pictures: Sequence[Picture], parameters: dict[str, Any] | None = None
    ) -> ServiceQuestion:
        """A question to this service, as the journal knows it."""
        card = self._service.card
        digests = tuple(one.digest for one in pictures)
        return ServiceQuestion(card.name, card.api_version, operation, digests, parameters or {})

    def _answer(
        self, question: ServiceQuestion, ask: Callable[[], ServiceAnswer], prepare: Callable[[], object] | None = None
    ) -> ServiceAnswer:
        """The stored answer, or what is asked now; ``prepare`` is what has to be done before, and is no question."""
        card = self._service.card
        if question.operation not in card.operations:
            return ServiceAnswer(question.operation, NOT_OFFERED, card.not_offered.get(question.operation, ""))
        if (found := self._current(self._journal.record(question))) is not None:
            return found
        if self._replay:
            raise NotStoredError(self._missing(question))
        with self._journal.claimed(question):
            known = self._journal.record(question)
            if (found := self._current(known)) is not None:
                return found
            if self._opened:
                return self._ask(question, known, ask, prepare)
            with self._first:  # alone: a wrong key is told after one call, however many connections wait
                if not self._opened:
                    answer = self._ask(question, known, ask, prepare)
                    self._opened = True
                    return answer
            return self._ask(question, known, ask, prepare)

    def _current(self, known: JournalRecord) -> ServiceAnswer | None:
        found = known.current(self._expire)
        if found is not None:
            with self._lock:
                self.tally.stored += 1
        return found

    def _ask(
        self,
        question: ServiceQuestion,
        known: JournalRecord,
        ask: Callable[[], ServiceAnswer],
        prepare: Callable[[], object] | None,
    ) -> ServiceAnswer:
        if (ended := self.ended) is not None:
            return ServiceAnswer(question.operation, ended.status, f"not asked after: {ended.note}")
        try:
            if prepare is not None:
                prepare()
        except NoGalleryError as problem:
            return self._counted(replace(problem.answer, operation=question.operation))
        noted = self._journal.note(question, known)
        if known.has_open_try:
            self._spending.note(POSSIBLY_BILLED)
            with self._lock:
                self.tally.possibly_billed += 1
        try:
            with self._spending.on(question.operation):
                answer = ask()
        except ServiceError:  # a limit, or a certificate: the question did not leave
            self._journal.put(question, ServiceAnswer(question.operation, _NOT_SENT), noted)
            raise
        self._journal.put(question, answer, noted)
        return self._counted(answer)

    def _counted(self, answer: ServiceAnswer) -> ServiceAnswer:
        for _ in range(answer.retries):
            self._spending.note(RETRY)
        with self._lock:
            self.tally.asked[answer.status] += 1
            self.tally.retries += answer.retries
            if answer.status in ENDS_SERVICE and self.ended is None:
                self.ended = answer
        return answer

    def _missing(self, question: ServiceQuestion) -> str:
        others = self._journal.other_versions(question)
        why = (
            f"its stored answer is of API version {', '.join(others)}, not {question.api_version}"
            if others
            else "it has no stored answer"
        )
        return f"remote.replay: service {question.service}, {question.operation}: {why}; ask without remote.replay"


def side_by_side(
    ask: Callable[[Asked], ServiceAnswer], questions: Iterable[Asked], connections: int
) -> Iterator[tuple[Asked, ServiceAnswer]]:
    """Questions with their answers, in order, several asked at once by threads of this process.

    At most twice as many as there are connections are taken from ``questions`` before their answers are, so that memory
    does not grow with their number. Where an answer raises, what is underway is waited for and the rest is not asked.
    """
    with ThreadPoolExecutor(connections, thread_name_prefix="asking") as pool:
        waiting: deque[tuple[Asked, Future[ServiceAnswer]]] = deque()
        try:
            for question in questions:
                waiting.append((question, pool.submit(ask, question)))
                if len(waiting) >= 2 * connections:
                    first, answer = waiting.popleft()
                    yield first, answer.result()
            while waiting:
                first, answer = waiting.popleft()
                yield first, answer.result()
        finally:
            for _, answer in waiting:
                answer.cancel()
