"""Named random streams: every draw in the project comes from one of these.

A stream is named by what it is for, such as ``(seed, "pgd", image_id)``. Two draws with the same name are equal
whatever was drawn before, on any worker and in any order, which is what makes results independent of batch size,
scheduling and interruption (invariant 6 of ``docs/architecture.md``). Nothing here reads or writes the global random
state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

_SEED_BITS = 64
_HEAD_BYTES, _WORDS = 24, 624
"""Of the state of torch's generator, a Mersenne twister: what comes before its words, and their number."""


def stream_seed(*name: object) -> int:
    """A 63-bit seed from a name; parts are compared as text, so ``1`` and ``"1"`` name the same stream."""
    return int.from_bytes(hashlib.sha256(_text(name)).digest()[:8], "big") >> 1


def generator(*name: object) -> torch.Generator:
    """A CPU generator seeded from ``name``. Draw on the CPU, then move, so that devices agree.

    Torch makes its state of the last 32 bits of a seed, which can be tried out. Where a part of the name is a secret, a
    whole number of more than 64 bits, the whole state comes from the name.
    """
    stream = torch.Generator().manual_seed(stream_seed(*name))
    if any(isinstance(part, int) and part.bit_length() > _SEED_BITS for part in name):
        state = stream.get_state()
        digits = hashlib.shake_256(_text(name)).digest(4 * _WORDS)
        words = torch.frombuffer(bytearray(digits), dtype=torch.int32).long() & 0xFFFFFFFF
        state[_HEAD_BYTES : _HEAD_BYTES + 8 * _WORDS].view(torch.int64).copy_(words)
        stream.set_state(state)
    return stream


def uniform_per_item(items: Sequence[str], shape: Sequence[int], low: float, high: float, *name: object) -> Tensor:
    """Uniform noise ``[len(items), *shape]`` in ``[low, high)``, one independent stream per item.

    Item ``i`` gets the same noise in every batch it may appear in.
    """
    noise = torch.empty(len(items), *shape)
    for row, item in zip(noise, items, strict=True):
        row.uniform_(low, high, generator=generator(*name, item))
    return noise


@contextmanager
def layers_draw_from(*name: object) -> Iterator[None]:
    """Let the layers of a network draw from the stream ``name``; the caller's random state is left as it was.

    Initial weights and dropout take their numbers from torch's global state, which cannot be replaced by a generator.
    Inside this block that state is the named stream, on every device, so what is drawn depends on the name alone.
    """
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(stream_seed(*name))
        yield


def _text(name: tuple[object, ...]) -> bytes:
    return "\x1f".join(str(part) for part in name).encode()
