"""`Journal`: every question to a service, written down before it is asked, and its answer after.

One file for each question, named by a digest of service, operation, pictures and parameters, in a folder of the API
version. It holds when the question was asked, each time, and the answer. A file is written whole: so a question whose
answer is there is never asked again, and one that was asked and has no answer (a process was killed in between) may
have been billed, is counted, and is asked once more.

Answers that are a failure end a try and are not kept as answers. Nothing in here depends on versions of libraries: an
answer that was paid for is not lost with an upgrade.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from cloakbench.bench.core.files.file_lock import exclusive
from cloakbench.bench.core.files.seal import DamagedError, open_json, sealed_json
from cloakbench.bench.core.files.whole_file import whole_file
from cloakbench.bench.core.hashing import canonical_json
from cloakbench.models.services import RESULTS, ServiceAnswer

_SUFFIX = ".json"


@dataclass(frozen=True)
class ServiceQuestion:
    """What is asked of a service; equal questions have one answer.

    Attributes:
        service: its name.
        api_version: of its card.
        operation: of the contract.
        pictures: digests, in order.
        parameters: whatever else decides the answer, plain values: a digest of the gallery, k.
    """

    service: str
    api_version: str
    operation: str
    pictures: Sequence[str]
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @cached_property
    def key(self) -> str:
        """32 hex digits, the same for all API versions."""
        said = [self.service, self.operation, list(self.pictures), dict(self.parameters)]
        return hashlib.sha256(canonical_json(said).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class JournalRecord:
    """What is known of a question.

    Attributes:
        asked: when it was asked, and the status that came: empty where nothing came.
        answer: the last result; None while there is none.
    """

    asked: tuple[tuple[str, str], ...] = ()
    answer: ServiceAnswer | None = None

    def current(self, expire: date | None) -> ServiceAnswer | None:
        """The answer, unless it is from before ``expire``. One without a date was never sent, and stays."""
        found = self.answer
        if found is None or expire is None or not found.date:
            return found
        return None if datetime.fromisoformat(found.date).date() < expire else found

    @property
    def has_open_try(self) -> bool:
        """Whether nothing came of the last try."""
        return bool(self.asked) and not self.asked[-1][1]

    @property
    def possibly_billed(self) -> int:
        """How often it was asked without anything that came."""
        return sum(not status for _, status in self.asked)


class Journal:
    """The questions below a folder, shared by any number of processes.

    Args:
        folder: is made with the first question.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def record(self, question: ServiceQuestion) -> JournalRecord:
        """What is known of a question. A file that does not match its seal counts as absent."""
        path = self._path(question)
        earlier = path.parents[1] / question.key[:2] / path.name  # an older place: what was paid for is not lost
        return self._read(path) or self._read(earlier) or JournalRecord()

    def answer(self, question: ServiceQuestion, expire: date | None = None) -> ServiceAnswer | None:
        """The stored answer, unless it is from before ``expire``."""
        return self.record(question).current(expire)

    def other_versions(self, question: ServiceQuestion) -> tuple[str, ...]:
        """API versions for which the same question has an answer."""
        mine = self._path(question)
        others = sorted(mine.parents[2].glob(f"*/*/{mine.name}")) if mine.parents[2].exists() else []
        return tuple(one.parents[1].name for one in others if one.parents[1] != mine.parents[1])

    @contextmanager
    def claimed(self, question: ServiceQuestion) -> Iterator[None]:
        """Nobody else asks this question; whoever waited finds the answer."""
        path = self._path(question)
        path.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(path.with_suffix(".lock"), f"asking {question.service} the same"):
            yield

    def note(self, question: ServiceQuestion, known: JournalRecord | None = None) -> JournalRecord:
        """Write down that a question is about to be asked.

        Args:
            question: which one.
            known: what `record` says, of whoever has claimed the question and read it; read here where it is not given.

        Returns:
            What is known now.
        """
        known = known or self.record(question)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return self._write(question, JournalRecord((*known.asked, (now, "")), known.answer))

    def put(self, question: ServiceQuestion, answer: ServiceAnswer, noted: JournalRecord | None = None) -> None:
        """Write down what came of the last `note`, which gave ``noted``; read here where it is not given."""
        known = noted or self.record(question)
        asked = (*known.asked[:-1], (known.asked[-1][0], answer.status))
        self._write(question, JournalRecord(asked, answer if answer.status in RESULTS else known.answer))

    def records(self, service: str) -> Iterator[JournalRecord]:
        """Everything that is known of a service, one after the other."""
        for path in sorted((self._folder / _plain(service)).glob(f"*/*/*{_SUFFIX}")):
            if (found := self._read(path)) is not None:
                yield found

    def _path(self, question: ServiceQuestion) -> Path:
        folder = self._folder / _plain(question.service) / _plain(question.api_version)
        return folder / question.key[:1] / f"{question.key}{_SUFFIX}"

    def _read(self, path: Path) -> JournalRecord | None:
        try:
            plain = open_json(path.read_bytes(), path.name)
            answer = plain["answer"]
            return JournalRecord(
                tuple((at, status) for at, status in plain["asked"]),
                None if answer is None else ServiceAnswer.from_json(answer),
            )
        except (FileNotFoundError, DamagedError, KeyError, TypeError):
            return None

    def _write(self, question: ServiceQuestion, record: JournalRecord) -> JournalRecord:
        path = self._path(question)
        plain = {
            "question": {
                "service": question.service,
                "api_version": question.api_version,
                "operation": question.operation,
                "pictures": list(question.pictures),
                "parameters": dict(question.parameters),
            },
            "asked": [list(one) for one in record.asked],
            "answer": None if record.answer is None else record.answer.to_json(),
        }
        content = sealed_json(plain, path.name, indent=None)
        if not record.asked[:-1] and not record.asked[-1][1]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)  # the first note: nothing to lose, and what a kill cuts off here did not leave
            return record
        with whole_file(path, durable=False) as file:  # a power cut costs the question again, a kill does not
            file.write(content)
        return record


def _plain(name: str) -> str:
    """A name as one folder."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", name)
