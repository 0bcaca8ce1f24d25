"""Crops on their way from photos to roles, on disk, so that a data set may be larger than memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cloakbench.datasets.alignment import CROP_SIZE
from cloakbench.datasets.photos import DatasetError

_SHAPE = (3, CROP_SIZE, CROP_SIZE)
_BYTES = 3 * CROP_SIZE * CROP_SIZE


class Spool:
    """A file of crops in the order in which they came.

    It and the arrays made from it have no name, so that nothing is left over however the process ends; they lie on the
    disk of ``folder``, and their space is free again when nobody uses them any more.

    Args:
        folder: an existing folder with room for the crops twice; None takes the system's folder for temporary files.

    Raises:
        DatasetError: the file cannot be made.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._length = 0
        try:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (closed by close)
        except OSError as error:
            raise _no_room(folder, error) from error

    def append(self, crop: Tensor) -> int:
        """Keep a crop, uint8 ``[3, 112, 112]``; returns its number.

        Raises:
            DatasetError: the disk is full.
        """
        try:
            self._file.write(crop.numpy().tobytes())
        except OSError as error:
            raise _no_room(self._folder, error) from error
        self._length += 1
        return self._length - 1

    def gather(self, numbers: Sequence[int]) -> Tensor:
        """Crops ``[N, 3, 112, 112]``, mapped from a file of their own; changes stay in memory.

        Raises:
            DatasetError: the disk is full.
        """
        if not numbers:
            return torch.empty((0, *_SHAPE), dtype=torch.uint8)
        try:
            self._file.flush()
            with tempfile.TemporaryFile(dir=self._folder) as file:
                for number in numbers:
                    file.write(os.pread(self._file.fileno(), _BYTES, number * _BYTES))
                file.flush()
                return torch.from_numpy(np.memmap(file, np.uint8, "c", shape=(len(numbers), *_SHAPE)))
        except OSError as error:
            raise _no_room(self._folder, error) from error

    def close(self) -> None:
        """Give the space back; arrays that were gathered stay."""
        with suppress(OSError):  # a full disk has been reported
            self._file.close()


def _no_room(folder: Path | None, error: OSError) -> DatasetError:
    place = folder or tempfile.gettempdir()
    return DatasetError(
        f"cannot keep crops in {place} ({error.strerror}): free space, or set dataset.cache to another folder"
    )
