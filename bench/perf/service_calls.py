"""Calls of a service beside a bare HTTP client, and how long stored answers take to read.

The local service answers, which has seen every picture before, so that no network is in the time. What is measured is
the time of the asking thread on its processor, with files in memory where the machine has a place for that: a disk or
another process makes nobody look slow.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from cloakbench.bench.core.random_streams import uniform_per_item
from cloakbench.bench.perf.subjects import embedded_recogniser
from cloakbench.bench.perf.timing import Ratio
from cloakbench.bench.services.asking import Asker
from cloakbench.bench.services.galleries import Galleries
from cloakbench.bench.services.journal import Journal, ServiceQuestion
from cloakbench.bench.services.local.server import LocalServer, start
from cloakbench.bench.services.spending import Spending
from cloakbench.models.mlaas.line import ServiceLine
from cloakbench.models.mlaas.local import LocalService
from cloakbench.models.mlaas.wire import Request, Wire, json_body
from cloakbench.models.pictures import Picture
from cloakbench.models.service_keys import ServiceKeys
from cloakbench.models.services import COMPARE, Connection, ServiceAnswer

ADDED_SECONDS = 0.002
"""What a question may take beyond the bare call."""
READ_SECONDS = 5.0 / 10_000
"""What reading a stored answer may take: 10 000 in five seconds."""
STORED = 2_000
_PICTURES = 26
"""Whose pairs are more than a journal has folders, so that making those is no part of what a question takes."""
_NAME = "local"


def service_calls(repeats: int, stored: int = STORED) -> Iterator[Ratio]:
    """Rows whose other side is what the work may take, so that the bar is 1.

    Args:
        repeats: turns of the first row, ours and the bare client's one after the other.
        stored: answers that are read.
    """
    yield _asked(repeats)
    yield _read(stored)


def _asked(repeats: int) -> Ratio:
    pictures = [Picture.of(image) for image in _images()]
    pairs = list(itertools.combinations(pictures, 2))
    with start(embedded_recogniser("cosface_mobilenet")) as server, folder_in_memory() as folder:
        bare = _bare(server)
        for pair in pairs[: _PICTURES - 1]:
            bare(*pair)  # every picture is seen, and a connection open
        ours, other = [], []
        for turn in range(repeats):
            asker = _asker(server, Path(folder) / str(turn))
            ours.append(_seconds(asker.compare, pairs))
            other.append(_seconds(bare, pairs) + ADDED_SECONDS * len(pairs))
    note = f"{len(pairs)} questions, noted and kept, of one thread"
    return Ratio("questions to a service | bare client, and 2 ms for each", 1.0, ours, other, note=note)


def folder_in_memory() -> tempfile.TemporaryDirectory[str]:
    """A folder for a while, in memory where the machine has a place for that."""
    place = Path("/dev/shm")  # a folder of its own is made in there
    return tempfile.TemporaryDirectory(dir=place if os.access(place, os.W_OK) else None)


def _images() -> torch.Tensor:
    names = [f"picture {number}" for number in range(_PICTURES)]
    return (255 * uniform_per_item(names, (3, 112, 112), 0.0, 1.0, "service calls")).round().to(torch.uint8)


def _seconds(ask: Callable[[Picture, Picture], object], pairs: Sequence[tuple[Picture, Picture]]) -> float:
    begun = time.thread_time()
    for pair in pairs:
        ask(*pair)
    return time.thread_time() - begun


def _bare(server: LocalServer) -> Callable[[Picture, Picture], object]:
    """A comparison as somebody writes it who wants a number and nothing else."""
    wire, headers = Wire(server.url, 30.0), {"content-type": "application/json"}

    def compared(a: Picture, b: Picture) -> object:
        body = json_body({"a": a.base64(), "b": b.base64()})
        return wire.send(Request(COMPARE, "/v1/compare", {}, headers, body)).json()["score"]

    return compared


def _asker(server: LocalServer, folder: Path) -> Asker:
    spending = Spending(_NAME, {}, None, None)
    connection = Connection(ServiceKeys(""), spending.permit)
    service = LocalService(_NAME, ServiceLine(server.url, 1000, "this machine"), connection)
    galleries = Galleries(service, folder / "galleries", "perf")
    return Asker(service, Journal(folder / "journal"), spending, galleries)


def _read(stored: int) -> Ratio:
    with folder_in_memory() as folder:
        journal = Journal(Path(folder))
        questions = [ServiceQuestion(_NAME, "1", COMPARE, (str(number), "b")) for number in range(stored)]
        body = '{"request_id": "1470472868", "faces": [1, 1], "thresholds": {"0.1": 60.0, "0.01": 75.0}}' * 4
        answer = ServiceAnswer(COMPARE, score=71.5, date="2026-11-27T04:00:00+00:00", body=body)
        for question in questions:
            journal.note(question)
            journal.put(question, answer)
        begun = time.perf_counter()
        found = sum(journal.answer(question) is not None for question in questions)
        seconds = time.perf_counter() - begun
    if found != stored:
        raise RuntimeError(f"{stored - found} of {stored} stored answers were not found")
    return Ratio(f"{stored} stored answers read | 0.5 ms each", 1.0, [seconds], [stored * READ_SECONDS])
