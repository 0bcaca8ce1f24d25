"""Checkpoints of training stages in the store, and the log lines that say how far a training is."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from cloakbench.bench.core.hashing import Inputs
from cloakbench.bench.store.store import Store
from cloakbench.methods.context import Checkpoint, Kept

log = logging.getLogger(__name__)

EVERY_SECONDS = 30.0
"""Time between two checkpoints, and between two lines about progress: what a killed training repeats at most."""

_KIND = "checkpoints"


class StoredCheckpoint(Checkpoint):
    """What a stage has reached, under the key of what it trains; written at most every `EVERY_SECONDS`.

    Args:
        store: where.
        key: of the stage.
        inputs: what the key was made from.
        clock: monotonic seconds.
    """

    def __init__(self, store: Store, key: str, inputs: Inputs, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._key, self._inputs, self._clock = store, key, inputs, clock
        self._saved_at = clock()

    def load(self) -> Kept | None:
        """What was saved last; None when nothing was, or it is damaged."""
        stored = self._store.read_tensors(_KIND, self._key)
        return None if stored is None else Kept(stored[0], **stored[1])

    def save(self, kept: Kept) -> None:
        """Write it, unless the last time was a moment ago."""
        if self._clock() - self._saved_at < EVERY_SECONDS:
            return
        note = {name: value for name, value in vars(kept).items() if name != "tensors"}
        tensors = {name: tensor.cpu() for name, tensor in kept.tensors.items()}
        self._store.write_tensors(_KIND, self._key, tensors, self._inputs, note)
        self._saved_at = self._clock()

    def remove(self) -> None:
        """Forget it, once the training is over."""
        self._store.remove(_KIND, self._key, ".safetensors")


class ProgressLines:
    """Says in the log how far a training is and how long it will take, at most every `EVERY_SECONDS`."""

    def __init__(self, label: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._label, self._clock = label, clock
        self._told_at = clock()
        self._first: tuple[float, int] | None = None

    def __call__(self, done: int, total: int) -> None:
        now = self._clock()
        if self._first is None:  # a training that was resumed does not begin at zero
            self._first = (now, done)
        if now - self._told_at < EVERY_SECONDS:
            return
        self._told_at = now
        begun, at_first = self._first
        left = (now - begun) / max(1, done - at_first) * (total - done)
        log.info("training %s: %d of %d, %.0f s left", self._label, done, total, left)
