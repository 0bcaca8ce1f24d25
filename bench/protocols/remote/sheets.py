"""Sheets: the questions of many chunks as one stream, and the answers put together again chunk by chunk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cloakbench.bench.core.status import OK
from cloakbench.bench.engine.outside import DueAnswer
from cloakbench.bench.engine.protocol import Answer
from cloakbench.bench.engine.worker import Worker
from cloakbench.bench.protocols.remote.questions import PhotoQuestion, Questions
from cloakbench.bench.protocols.remote.session import Session
from cloakbench.bench.protocols.remote.spoken import AnswerSheet, Form, classes_read, compared, searched
from cloakbench.bench.services.asking import side_by_side
from cloakbench.datasets.attribute_task import AttributeTask
from cloakbench.models.services import (
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
class DueChunk:
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
    chunks: Sequence[DueChunk],
    worker: Worker,
    form: Form,
    task: AttributeTask | None,
    connections: int,
    calibrated: Sequence[float] = (),
) -> Iterator[tuple[DueAnswer, Answer | str]]:
    """Ask a service about chunks, and give each back once, with its answer or why there is none.

    Args:
        session: of the service.
        questions: about photos.
        chunks: in order.
        worker: reads photos.
        form: what is kept of answers.
        task: whose attributes are read; None where nobody asks for any.
        connections: at once.
        calibrated: thresholds of the service, one for each rate of the form; NaN for none.
    """

    def stream() -> Iterator[tuple[int, PhotoQuestion]]:
        for number, chunk in enumerate(chunks):
            photos = chunk.due.photos
            if chunk.is_asked:
                for question in questions.about(photos.rows, worker.photos(photos)):
                    yield number, question
            yield number, PhotoQuestion(0, 0, _LAST, lambda asker: ServiceAnswer(_LAST))

    found = _Found(session.service, form, task, calibrated)
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
        self, service: RemoteService, form: Form, task: AttributeTask | None, calibrated: Sequence[float]
    ) -> None:
        self._service, self._form, self._task, self._calibrated = service, form, task, calibrated
        self._came: list[tuple[PhotoQuestion, ServiceAnswer]] = []
        self._failed: Counter[str] = Counter()
        self._notes: dict[str, str] = {}

    def put(self, question: PhotoQuestion, answer: ServiceAnswer) -> None:
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
        sheet = AnswerSheet(photos, self._form)
        for question, answer in came:
            sheet.put(question.photo, question.column, answer, self._numbers(question, answer))
        return Answer(sheet.tensors())

    def _numbers(self, question: PhotoQuestion, answer: ServiceAnswer) -> list[float]:
        if answer.status != OK:
            return []
        if question.operation == COMPARE:
            own = compared(answer, self._service.thresholds(COMPARE), self._form.fars)
            return [*own, *self._calibrated]
        if question.operation == SEARCH:
            return searched(answer, question.own, question.mates)
        assert self._task is not None
        return classes_read(answer.attributes, self._service.card.vocabulary, self._task)
