"""Precision: a method at each precision that a device has, beside float32.

All run in turn on the same photos, so that a slow moment of the machine hits each; ratios are medians over the turns.
What a coarser search is worth is judged in float32: how many pixels of the masks are the same, and how far the photos
are from their originals for the network that was attacked.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from rich.table import Table
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from cloakbench.bench.core.machine import FULL_PRECISION
from cloakbench.bench.engine.device.precision import at_precision, float_rule
from cloakbench.bench.perf.subjects import MODEL, crowd, embedded_recogniser, full_width_recogniser, method
from cloakbench.methods.base import Protector
from cloakbench.methods.context import Cost, NetworkKind, ProtectContext
from cloakbench.methods.photo_batch import PhotoBatch
from cloakbench.models.base import Recogniser

_SIDE = 8192
"""Of the matrices whose product shows what a card can do."""
_PRODUCTS = 20


@dataclass(frozen=True)
class PrecisionRow:
    """A method at a precision.

    Attributes:
        name: of method, network, and precision.
        seconds: of a call, the median.
        ratio: to float32 in the same turn, the median.
        passes_per_second: photos through the network, there or back.
        share: of the bfloat16 products that the card was seen to do in a second; None on a CPU.
        equal_pixels: share of pixels that are as float32 made them.
        similarity: largest difference of the cosine of a photo and its original from that of float32.
    """

    name: str
    seconds: float
    ratio: float
    passes_per_second: float
    share: float | None
    equal_pixels: float
    similarity: float


def precisions(
    people: int, photos: int, repeats: int, device: torch.device, *, compiled: bool
) -> Iterator[PrecisionRow]:
    """PGD and OPOM at each precision on the largest embedded network, and on CUDA on one of the papers' size, too.

    Args:
        people: whom OPOM protects.
        photos: what PGD protects.
        repeats: as of a comparison of two; there are more to compare here.
        device: where it runs.
        compiled: with compiled networks, too, on CUDA.
    """
    builds: dict[str, Callable[[], Recogniser]] = {MODEL: embedded_recogniser}
    if device.type == "cuda":
        builds["IResNet-50"] = full_width_recogniser
    searches = {"pgd": crowd(photos, 1, device), "opom_convex_hull": crowd(people, people, device)}
    ceiling, turns, kinds = ceiling_of(device), max(1, repeats // 2), kinds_on(device, compiled=compiled)
    for network, build in builds.items():
        for name, batch in searches.items():
            yield from precision_rows(f"{name} on {network}", method(name), build, batch, kinds, turns, ceiling)


def kinds_on(device: torch.device, *, compiled: bool = False) -> list[tuple[str, bool]]:
    """Precisions of a device, float32 first, each with whether networks are compiled."""
    if device.type != "cuda":
        return [(FULL_PRECISION, False), ("bf16", False)]
    kinds = [(one, False) for one in (FULL_PRECISION, "tf32", "bf16")]
    return kinds + ([(one, True) for one in (FULL_PRECISION, "bf16")] if compiled else [])


def precision_rows(
    name: str,
    protector: Protector,
    build: Callable[[], Recogniser],
    batch: PhotoBatch,
    kinds: Sequence[tuple[str, bool]],
    repeats: int,
    ceiling: float | None = None,
) -> list[PrecisionRow]:
    """A method at each precision, the first of which is the measure of the others.

    Args:
        name: of method and network.
        protector: what is run.
        build: gives the network anew, on the CPU.
        batch: photos on the device.
        kinds: precisions, each with whether the network is compiled.
        repeats: turns, after one to warm up.
        ceiling: products and sums in a second that the card is capable of, see `ceiling_of`.
    """
    device = batch.images.device
    models = [at_precision(build(), device, one, compiled=is_compiled) for one, is_compiled in kinds]
    contexts = [ProtectContext({NetworkKind.RECOGNISER: (model,)}, device=device) for model in models]
    found: list[Tensor] = []
    costs: list[list[Cost]] = [[] for _ in kinds]
    for turn in range(repeats + 1):
        for place, (precision, _) in enumerate(kinds):
            with float_rule(precision, device):
                protected = protector.protect(batch, contexts[place])
            if turn:
                costs[place].append(protected.cost)
            else:
                found.append(protected.images)
    work = _products_per_photo(models[0], batch.images[:1])
    exact = _similarity(models[0], batch.images, found[0])
    rows = []
    for (precision, compiled), images, spent in zip(kinds, found, costs, strict=True):
        seconds = statistics.median(one.seconds for one in spent)
        passes = spent[0].forward_images + spent[0].backward_images
        rows.append(
            PrecisionRow(
                f"{name}, {precision}{', compiled' * compiled}",
                seconds,
                statistics.median(one.seconds / full.seconds for one, full in zip(spent, costs[0], strict=True)),
                passes / seconds,
                None if ceiling is None else passes * work / seconds / ceiling,
                float((images == found[0]).float().mean()),
                float((_similarity(models[0], batch.images, images) - exact).abs().max()),
            )
        )
    return rows


def ceiling_of(device: torch.device) -> float | None:
    """Products and sums in a second of a large bfloat16 matrix product of random numbers; None on a CPU.

    Of equal numbers a card multiplies faster, as they take it less power.
    """
    if device.type != "cuda":
        return None
    stream = torch.Generator(device).manual_seed(0)
    sides = {"size": (_SIDE, _SIDE), "dtype": torch.bfloat16, "device": device}
    left, right = (torch.randn(**sides, generator=stream) for _ in range(2))
    product = left @ right
    for _ in range(_PRODUCTS):
        torch.mm(left, right, out=product)
    begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begun.record()
    for _ in range(_PRODUCTS):
        torch.mm(left, right, out=product)
    ended.record()
    torch.cuda.synchronize(device)
    return 2 * _SIDE**3 * _PRODUCTS / (begun.elapsed_time(ended) / 1000)


def precision_table(rows: Sequence[PrecisionRow]) -> Table:
    """Rows as a screen shows them."""
    table = Table("method", "s", "of fp32", "passes/s", "share", "equal pixels", "cosine within", title="Precision")
    for row in rows:
        share = "-" if row.share is None else f"{row.share:.1%}"
        speed = (f"{row.seconds:.3f}", f"{row.ratio:.3f}", f"{row.passes_per_second:.0f}", share)
        table.add_row(row.name, *speed, f"{row.equal_pixels:.1%}", f"{row.similarity:.4f}")
    return table


def _products_per_photo(model: Recogniser, photo: Tensor) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.embed(photo)
    return counter.get_total_flops()


@torch.no_grad()
def _similarity(model: Recogniser, originals: Tensor, protected: Tensor) -> Tensor:
    """Cosine ``[N]`` of each photo with its original."""
    return (model.embed(protected.to(originals.device).float() / 255) * model.embed(originals)).sum(dim=1)
