"""Renders batches of faces once and keeps them: in shards, so that a killed rendering continues, and in parallel.

One process at a time draws a batch and clears its shards; others that want it wait and read what it drew.
"""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import torch

from cloakbench.bench.core.files.array_file import read_array, write_array
from cloakbench.bench.core.files.file_lock import exclusive
from cloakbench.datasets.base import FaceSet
from cloakbench.datasets.synthetic.face_batch import ATTRIBUTES, FaceBatch, Sheet

SHARD = 128  # photos; half a second of rendering, 5 MB; small, so that an album of a few hundred is drawn in parallel
PARTS = {"images": np.dtype(np.uint8), "landmarks": np.dtype(np.float32), "attributes": np.dtype(np.int64)}
ROW_SHAPES = {"images": (3, 112, 112), "landmarks": (5, 2), "attributes": (len(ATTRIBUTES),)}

Progress = Callable[[int, int], None]
"""Called with the number of finished photos and of all photos."""


def rendered_faces(
    batch: FaceBatch,
    cache: str | Path | None = None,
    workers: int = 1,
    progress: Progress | None = None,
    *,
    threads: bool = False,
) -> FaceSet:
    """The photos of ``batch``, from ``cache`` when they are there.

    Args:
        batch: what to draw.
        cache: folder for finished batches; with it the images are memory-mapped, without it they are in memory.
        workers: processes that draw, one thread each. Without a cache, drawing is done by the caller.
        progress: called after each shard.
        threads: the workers are threads: for what is drawn before processes of this size could have started.
    """
    if cache is None:
        shards = [batch.part(start, start + SHARD).render() for start in _report(range(0, len(batch), SHARD), progress)]
        arrays = {part: torch.cat([getattr(shard, part) for shard in shards]).numpy() for part in PARTS}
        return _face_set(batch, arrays)
    folder = Path(cache) / "synthetic" / batch.digest()
    arrays = _read(folder, batch)
    if arrays is None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(folder.with_name(f"{folder.name}.lock"), "drawing the same faces"):
            arrays = _read(folder, batch)
            if arrays is None:  # nobody drew it while this process waited
                arrays = _draw(batch, folder, _pool(workers, threads), progress)
    return _face_set(batch, arrays)


Pool = Callable[[int], Executor] | None
"""Makes the workers for a number of jobs; None where the caller is the only one."""


def _pool(workers: int, threads: bool) -> Pool:
    if workers <= 1:
        return None
    if threads:
        return lambda jobs: ThreadPoolExecutor(min(workers, jobs))
    # spawn: a forked child inherits torch's thread pool in an unusable state
    return lambda jobs: ProcessPoolExecutor(min(workers, jobs), multiprocessing.get_context("spawn"))


def _draw(batch: FaceBatch, folder: Path, pool: Pool, progress: Progress | None) -> dict[str, np.ndarray]:
    """Draws what is missing and joins it; the caller holds the batch's lock."""
    _draw_shards(batch, folder / "shards", pool, progress)
    for part, dtype in PARTS.items():
        shape = (len(batch), *ROW_SHAPES[part])
        write_array(folder / f"{part}.npy", _name(batch, part), shape, dtype, _shard_parts(batch, folder, part))
    arrays = _read(folder, batch)
    if arrays is None:
        raise OSError(f"{folder} cannot be read back right after writing: check the disk")
    shutil.rmtree(folder / "shards", ignore_errors=True)
    return arrays


def _report(starts: range, progress: Progress | None) -> Iterator[int]:
    for start in starts:
        yield start
        if progress is not None:
            progress(min(start + starts.step, starts.stop), starts.stop)


def _face_set(batch: FaceBatch, arrays: dict[str, np.ndarray]) -> FaceSet:
    attributes = torch.from_numpy(np.asarray(arrays["attributes"]))
    return FaceSet(
        torch.from_numpy(arrays["images"]),
        batch.photos,
        batch.people,
        torch.from_numpy(np.asarray(arrays["landmarks"])),
        {name: attributes[:, column].clone() for column, name in enumerate(ATTRIBUTES)},
    )


def _read(folder: Path, batch: FaceBatch) -> dict[str, np.ndarray] | None:
    """All parts in ``folder``, or ``None`` when one is missing or damaged."""
    arrays = {part: read_array(folder / f"{part}.npy", _name(batch, part)) for part in PARTS}
    whole = {part: array for part, array in arrays.items() if array is not None}
    return whole if len(whole) == len(PARTS) else None


def _name(batch: FaceBatch, part: str) -> str:
    return f"{batch.digest()}/{part}"


def _shard_folder(shards: Path, start: int) -> Path:
    return shards / f"{start:07d}"


def _shard_parts(batch: FaceBatch, folder: Path, part: str) -> Iterator[np.ndarray]:
    for start in range(0, len(batch), SHARD):
        shard = batch.part(start, start + SHARD)
        array = read_array(_shard_folder(folder / "shards", start) / f"{part}.npy", _name(shard, part))
        if array is None:  # gone or damaged since it was drawn
            array = getattr(shard.render(), part).numpy()
        yield array


def _draw_shards(batch: FaceBatch, shards: Path, pool: Pool, progress: Progress | None) -> None:
    """Draws the shards that are not on disk yet."""
    starts = range(0, len(batch), SHARD)
    parts = [(batch.part(start, start + SHARD), _shard_folder(shards, start)) for start in starts]
    jobs = [(part, folder) for part, folder in parts if _read(folder, part) is None]
    done = len(batch) - sum(len(part) for part, _ in jobs)

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, len(batch))

    if pool is None or len(jobs) <= 1:
        for job in jobs:
            advance(_draw_shard(*job))
        return
    with pool(len(jobs)) as workers:
        try:
            for finished in as_completed([workers.submit(_draw_shard, *job) for job in jobs]):
                advance(finished.result())
        except BaseException:  # a person who interrupts does not wait for what nobody has begun
            workers.shutdown(cancel_futures=True)
            raise


def _draw_shard(part: FaceBatch, folder: Path) -> int:
    sheet: Sheet = part.render()
    for name, dtype in PARTS.items():
        array = getattr(sheet, name).numpy()
        write_array(folder / f"{name}.npy", _name(part, name), array.shape, dtype, [array])
    return len(part)
