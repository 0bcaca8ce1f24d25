"""Sheets: the questions of many chunks as one stream, and the answers put together again chunk by chunk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cloakbench.bench.core.status import OK
from cloakbench.bench.engine.outside import DueAnswer
from cloakbench.bench.engine.protocol import Answer
from cloakbench.bench.engine.worker import Worker
from cloakbench.bench.protocols.remote.questions import Question, Questions
from cloakbench.bench.protocols.remote.session import Session
from cloakbench.bench.protocols.remote.spoken import Sheet, compared, read, searched
from cloakbench.bench.services.asking import side_by_side
from cloakbench.models.services import (
    ATTRIBUTES,
    COMPARE,
    NOT_OFFERED,
    RESULTS,
    SEARCH,
    RemoteService,
    ServiceAnswer,
    ServiceError,
)

_LAST = "last"
"""Operation of a question that nobody is asked: it follows those of a chunk."""


@dataclass(frozen=True)
class Chunk:
    """A chunk whose answers are due.

    Attributes:
        due: what is due.
        is_asked: whether its method is asked about.
    """

    due: DueAnswer
    is_asked: bool


def answered(
    session: Session,
    questions: Questions,
    chunks: Sequence[Chunk],
    worker: Worker,
    columns: Mapping[str, int],
    fars: Sequence[float],
    connections: int,
) -> Iterator[tuple[DueAnswer, Answer | str]]:
    """Ask a service about chunks, and give each back once, with its answer or why there is none.

    Args:
        session: of the service.
        questions: about photos.
        chunks: in order.
        worker: reads photos.
        columns: questions of each operation about a photo.
        fars: whose thresholds are kept.
        connections: at once.
    """

    def stream() -> Iterator[tuple[int, Question]]:
        for number, chunk in enumerate(chunks):
            photos = chunk.due.photos
            if chunk.is_asked:
                for question in questions.about(photos.rows, worker.photos(photos)):
                    yield number, question
            yield number, Question(0, 0, _LAST, lambda asker: ServiceAnswer(_LAST))

    found = _Found(session.service, columns, fars, questions.gallery_size)
    done = 0
    try:
        asked = side_by_side(lambda one: one[1].ask(session.asker), stream(), connections)
        for (number, question), answer in asked:
            if question.operation != _LAST:
                found.put(question, answer)
                continue
            yield chunks[number].due, found.taken(len(chunks[number].due.photos.rows), session.service.card.name)
            done = number + 1
    except ServiceError as problem:  # a limit, or a certificate: nothing more can be asked
        for chunk in chunks[done:]:
            yield chunk.due, str(problem)


class _Found:
    """What came so far of a chunk."""

    def __init__(
        self, service: RemoteService, columns: Mapping[str, int], fars: Sequence[float], gallery_size: int
    ) -> None:
        self._service, self._columns, self._fars, self._gallery_size = service, columns, fars, gallery_size
        self._came: list[tuple[Question, ServiceAnswer]] = []
        self._failed: Counter[str] = Counter()
        self._notes: dict[str, str] = {}

    def put(self, question: Question, answer: ServiceAnswer) -> None:
        """Note an answer to a question about the chunk at hand."""
        if answer.status in RESULTS or answer.status == NOT_OFFERED:
            self._came.append((question, answer))
        else:
            self._failed[answer.status] += 1
            self._notes[answer.status] = answer.note.removeprefix("not asked after: ")

    def taken(self, photos: int, service: str) -> Answer | str:
        """The answer about the chunk, or why it is none; then a chunk begins anew."""
        came, failed, notes = self._came, self._failed, self._notes
        self._came, self._failed, self._notes = [], Counter(), {}
        if failed:
            status = failed.most_common(1)[0][0]
            return f"service {service}: {status}: {notes[status] or 'no reason is given'}"
        sheet = Sheet(photos, self._columns, self._fars)
        for question, answer in came:
            sheet.put(question.photo, question.column, answer, self._numbers(question, answer))
        return Answer(sheet.tensors())

    def _numbers(self, question: Question, answer: ServiceAnswer) -> list[float]:
        if answer.status != OK:
            return []
        if question.operation == COMPARE:
            return compared(answer, self._service.thresholds(COMPARE), self._fars)
        if question.operation == SEARCH:
            return searched(answer, question.own, question.mates)
        assert question.operation == ATTRIBUTES
        return read(self._service.card.vocabulary.task_words(answer.attributes))
