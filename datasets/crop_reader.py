"""Makes crops ahead of time, on all cores, without changing what comes out or in which order.

Each photo is decoded and its face found by one single-thread process, one photo at a time: crops are equal to the byte
whatever the number of processes. Small jobs are over before a process has started, and reading crops from the cache, or
aligned ones, costs less than sending them from process to process; so the first seconds of work are done in the calling
process, and all of it where the photos are read so fast.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import lru_cache
from multiprocessing.connection import wait
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cloakbench.datasets.crops import Crop, Cropper
from cloakbench.datasets.listing import Place
from cloakbench.datasets.photos import DatasetError

_ALONE_SECONDS = 2.0
_SLOW_PHOTO_SECONDS = 0.002
_GROUP = 4  # photos per message
_GROUPS_AHEAD = 4  # per process


class PlacedPhoto(NamedTuple):
    """Where a photo lies, and what is known of its face: five points ``[5, 2]`` and the box ``[4]``."""

    place: Place
    points: Tensor | None = None
    box: Tensor | None = None


class CropReader:
    """Crops by row, read ahead in the order in which rows are announced.

    Args:
        cropper: what to do with each photo.
        photo: the photo of a row.
        workers: processes; 0 does everything in the calling process.
    """

    def __init__(self, cropper: Cropper, photo: Callable[[int], PlacedPhoto], workers: int) -> None:
        self._cropper = cropper
        self._photo = photo
        self._workers = workers
        self._expected: deque[int] = deque()
        self._asked: set[int] = set()
        self._coming: dict[int, tuple[Future[list[bytes]], int]] = {}
        self._pool: ProcessPoolExecutor | None = None
        self._packed_cropper = b""
        self._seconds_alone = 0.0
        self._read_alone = 0

    def expect(self, rows: Iterable[int]) -> None:
        """Announce rows that will be asked for, in this order."""
        self._expected.extend(rows)

    def crop(self, row: int) -> Crop:
        """The crop of a row, which is asked for once.

        Raises:
            DatasetError: as for :meth:`Cropper.crop`, or a process died.
        """
        self._asked.add(row)
        if self._pool is None and self._workers > 1 and self._is_slow():
            self._packed_cropper = pickle.dumps(self._cropper)
            self._pool = _start(self._workers)
        if self._pool is None:
            started = time.monotonic()
            crop = self._cropper.crop(*self._photo(row))
            self._seconds_alone += time.monotonic() - started
            self._read_alone += 1
            return crop
        try:
            if row not in self._coming:
                self._send(self._pool, [row])
            self._read_ahead(self._pool)
            future, place = self._coming.pop(row)
            return Crop.unpack(future.result()[place])
        except BrokenProcessPool as error:
            raise DatasetError(
                "a process that reads photos died, most likely for lack of memory: lower dataset.workers or "
                "dataset.max_megapixels and run again"
            ) from error

    def close(self) -> None:
        """Stop the processes once they have finished the photos in hand."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _is_slow(self) -> bool:
        seconds = self._seconds_alone
        return seconds > _ALONE_SECONDS and seconds > self._read_alone * _SLOW_PHOTO_SECONDS

    def _read_ahead(self, pool: ProcessPoolExecutor) -> None:
        """Keep every process busy, and no more crops in memory than that takes."""
        while self._expected and len(self._coming) < _GROUP * _GROUPS_AHEAD * self._workers:
            group: list[int] = []
            while self._expected and len(group) < _GROUP:
                row = self._expected.popleft()
                if row not in self._asked and row not in self._coming:
                    group.append(row)
            if group:
                self._send(pool, group)

    def _send(self, pool: ProcessPoolExecutor, rows: list[int]) -> None:
        plain = [(place, _plain(points), _plain(box)) for place, points, box in map(self._photo, rows)]
        with _interrupts_ignored():  # a message may start another process
            future = pool.submit(_crop_photos, self._packed_cropper, plain)
        self._coming |= {row: (future, place) for place, row in enumerate(rows)}


def _start(workers: int) -> ProcessPoolExecutor:
    # spawn: a forked child inherits torch's thread pool in an unusable state
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_settle)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes started here never see Ctrl-C, not even while they import; their parent decides."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _settle() -> None:
    """In a new process: one thread, no answer to Ctrl-C, an end when the parent is gone."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _plain(numbers: Tensor | None) -> list[Any] | None:
    return None if numbers is None else numbers.tolist()


def _tensor(numbers: list[Any] | None) -> Tensor | None:
    return None if numbers is None else torch.tensor(numbers, dtype=torch.float64)


def _crop_photos(packed_cropper: bytes, photos: list[tuple[Place, list[Any] | None, list[Any] | None]]) -> list[bytes]:
    cropper = _unpack_cropper(packed_cropper)
    return [cropper.crop(place, _tensor(points), _tensor(box)).pack() for place, points, box in photos]


@lru_cache(maxsize=1)
def _unpack_cropper(packed_cropper: bytes) -> Cropper:
    """One cropper per process, so that a detector loads its networks once."""
    return pickle.loads(packed_cropper)
