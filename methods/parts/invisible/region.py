"""The local region of Invisible-Face: a box that holds what attribute networks look at, found by simulated annealing.

Source: Yang et al., "Invisible-Face", TIFS 2025, equations 1 to 3 and algorithm 1. A box has its centre at a fixed
point of the face; its upper left corner is one of the face's points, its lower right corner is that one's reflection.
A box is the better the less the answers change when everything outside it is blanked, and the smaller it is: ``SE =
theta_m / K sum_k KL(M_k(x) | M_k(x^M)) + theta_s area``. What the algorithm leaves open is read so:

- corners are points above and left of the centre, so that no box is inverted; the walk ends where they end;
- both terms are shares: of what a blank photo changes, and of the photo's pixels; DE is the KL divergence;
- at every temperature that is reached, worse boxes are accepted so often that the last box is nearly the last in the
  list; therefore the best box seen is kept, and the last one is an option.

Which box is proposed does not depend on what was accepted. So all boxes of all photos are scored first, many at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.bench.core.ranges import SettingError, at_least, one_of, positive, whole
from cloakbench.methods.context import CountedNetwork
from cloakbench.methods.parts.item_rng import ItemStreams

Scores = Mapping[str, Tensor]
Returned = Literal["best", "last"]
Centre = Literal["mean", "random"]
Outside = Literal["black", "mean"]

_SMALLEST_CHANGE = 1e-6
"""Of a blank photo's answers; an attribute network that never changes its answer divides nothing by zero."""
AT_ONCE = 64
"""Blanked photos of one pass."""


@dataclass(frozen=True)
class RegionRules:
    """How the box is searched.

    Attributes:
        highest, lowest, cooling: temperatures of the walk, ``highest * cooling^step`` while that is above ``lowest``.
        network_weight: theta_m, in units of what a blank photo changes. The paper has no value. At 1, as for the area,
            boxes held 15 to 27 % of rendered photos, at 10 they held 42 to 52 % (24 photos, two networks); the PSNR of
            masks in boxes and on whole photos in the paper's Table V, 37.01 and 33.26 dB, is that of 42 %.
        area_weight: theta_s, in units of the photo's area.
        most_candidates: corners that are tried; with the clean and the blank photo 90 passes of each network.
        margin_px: how far corners are above and left of the centre, at least.
        grid: points of the photo a side that are corners beside those of the face; 0 for none.
        centre: the mean of the five points, or one of them drawn for each photo.
        outside: what is outside of a box when it is scored: black, or the photo's mean colour.
        returns: the best box seen, or the last that was accepted.

    Raises:
        SettingError: a value is out of range.
    """

    highest: float = 10.0
    lowest: float = 0.1
    cooling: float = 0.95
    network_weight: float = 10.0
    area_weight: float = 1.0
    most_candidates: int = 88
    margin_px: float = 4.0
    grid: int = 12
    centre: Centre = "mean"
    outside: Outside = "black"
    returns: Returned = "best"

    def __post_init__(self) -> None:
        positive("highest", self.highest)
        positive("lowest", self.lowest)
        if not 0 < self.cooling < 1:
            raise SettingError("cooling", self.cooling, "a number between 0 and 1")
        at_least("network_weight", self.network_weight)
        at_least("area_weight", self.area_weight)
        whole("most_candidates", self.most_candidates)
        at_least("margin_px", self.margin_px)
        whole("grid", self.grid, 0)
        one_of("centre", self.centre, get_args(Centre))
        one_of("outside", self.outside, get_args(Outside))
        one_of("returns", self.returns, get_args(Returned))


@dataclass(frozen=True)
class Walk:
    """The annealing of one photo.

    Attributes:
        visited: places of the boxes that were accepted, in order; the first is where it began.
        proposed: how many were proposed after that.
        best: place of the visited box of the least energy, the first of equal ones.
    """

    visited: tuple[int, ...]
    proposed: int
    best: int

    def returned(self, which: Returned) -> int:
        """The place of the box that the search gives."""
        return self.best if which == "best" else self.visited[-1]


def walk(energies: Sequence[float], draws: Sequence[float], rules: RegionRules) -> Walk:
    """Algorithm 1 on boxes whose energies are known.

    Args:
        energies: SE of each box, in the order of the list.
        draws: a number in [0, 1) for each proposal.
        rules: temperatures.
    """
    visited, step = [0], 0
    while step + 1 < len(energies) and (temperature := rules.highest * rules.cooling**step) > rules.lowest:
        worse = energies[step + 1] - energies[visited[-1]]
        if worse < 0 or math.exp(-worse / temperature) > draws[step]:
            visited.append(step + 1)
        step += 1
    return Walk(tuple(visited), step, min(visited, key=lambda place: energies[place]))


@dataclass(frozen=True)
class Corners:
    """Where the boxes of one photo may begin.

    Attributes:
        centre: ``[2]``, x and y in pixels.
        upper_left: ``[C, 2]``, sorted from left to right.
    """

    centre: Tensor
    upper_left: Tensor

    @property
    def lower_right(self) -> Tensor:
        """The reflections in the centre, ``[C, 2]``; they may lie outside of the photo."""
        return 2 * self.centre - self.upper_left

    def boxes(self, height: int, width: int) -> Tensor:
        """Left, top, right and bottom, the last pixels inside, long ``[C, 4]``; cut at the photo."""
        low, high = self.upper_left.ceil(), self.lower_right.floor()
        most = low.new_tensor([width - 1, height - 1])
        return torch.cat([low.clamp(min=0), torch.minimum(high, most)], dim=1).long()


def find_corners(
    name: str, points: Tensor | None, size: tuple[int, int], rules: RegionRules, draw: float = 0.0
) -> Corners:
    """The centre of a face and the points that corners of boxes may lie on.

    Args:
        name: of the photo, for what is raised.
        points: of the face, ``[L, 2]``, x and y; None or not finite where they are unknown, when the middle of the
            photo stands for the centre.
        size: height and width of the photo.
        rules: grid, margin and centre.
        draw: in [0, 1), chooses the point of a random centre.

    Raises:
        ValueError: there are neither points nor a grid; or no point lies above and left of the centre.
    """
    height, width = size
    if points is not None and not bool(points.isfinite().all()):
        points = None
    if points is None and not rules.grid:
        raise ValueError(f"photo {name} has no landmarks, and region.grid=0 leaves no other points: set region.grid")
    if points is None:
        points, centre = torch.empty(0, 2), torch.tensor([(width - 1) / 2, (height - 1) / 2])
    else:
        points = points.detach().cpu().float()
        centre = points.mean(dim=0) if rules.centre == "mean" else points[int(draw * len(points))]
        centre = torch.minimum(centre.clamp(min=0), centre.new_tensor([width - 1, height - 1]))
    candidates = torch.cat([points, _grid(height, width, rules.grid)])
    candidates = candidates[(candidates < centre - rules.margin_px).all(dim=1) & (candidates >= 0).all(dim=1)]
    if not len(candidates):
        raise ValueError(
            f"photo {name}: no point lies {rules.margin_px:g} px above and left of the centre of the face "
            f"({centre[0]:.0f}, {centre[1]:.0f}): lower region.margin_px or raise region.grid"
        )
    order = sorted(range(len(candidates)), key=lambda place: tuple(candidates[place].tolist()))
    return Corners(centre, candidates[order[: rules.most_candidates]])


def _grid(height: int, width: int, count: int) -> Tensor:
    """``count`` x ``count`` points at the middles of equal parts of the photo, ``[count^2, 2]``."""
    places = (torch.arange(count) + 0.5) / max(count, 1)
    return torch.cartesian_prod(places * width, places * height).view(-1, 2) if count else torch.empty(0, 2)


def inside(boxes: Tensor, height: int, width: int) -> Tensor:
    """Equation 1's A: 1 inside of boxes ``[N, 4]`` and 0 outside, float ``[N, 1, H, W]``."""
    left, top, right, bottom = (side.view(-1, 1) for side in boxes.unbind(dim=1))
    columns, rows = (torch.arange(count, device=boxes.device) for count in (width, height))
    in_columns, in_rows = (columns >= left) & (columns <= right), (rows >= top) & (rows <= bottom)
    return (in_rows.unsqueeze(2) & in_columns.unsqueeze(1)).unsqueeze(1).float()


@torch.no_grad()
def find_regions(
    photos: Tensor,
    names: Sequence[str],
    points: Tensor | None,
    clean: Sequence[Scores],
    surrogates: Sequence[CountedNetwork],
    seed: int,
    rules: RegionRules,
    at_once: int = AT_ONCE,
) -> Tensor:
    """The box of every photo: left, top, right and bottom, the last pixels inside, long ``[N, 4]``.

    A function of the photo, its name and the seed, but for the last bits of scores.

    Args:
        photos: ``[N, 3, H, W]`` in [0, 1].
        names: one for each; they seed the draws.
        points: of each face, ``[N, L, 2]``, or None.
        clean: for each surrogate its scores for the photos, attribute to ``[N, C]``.
        surrogates: the networks; of several the mean counts.
        seed: of the run.
        rules: see `RegionRules`.
        at_once: blanked photos of one pass.

    Raises:
        ValueError: as `find_corners`.
    """
    height, width = photos.shape[-2:]
    draws = ItemStreams(names, seed, "invisible_face", "region", device=torch.device("cpu"))
    centres, accepts = draws.uniform(1), draws.uniform(rules.most_candidates)
    corners = [
        find_corners(name, None if points is None else points[row], (height, width), rules, float(centres[row]))
        for row, name in enumerate(names)
    ]
    boxes = [one.boxes(height, width) for one in corners]
    owner = torch.arange(len(names)).repeat_interleave(torch.tensor([len(one) for one in boxes]))
    every = torch.cat(boxes)
    energies = _energies(photos, owner, every, clean, surrogates, rules, at_once).cpu()
    chosen = []
    for row, own in enumerate(boxes):
        found = walk(energies[owner == row].tolist(), accepts[row].tolist(), rules)
        chosen.append(own[found.returned(rules.returns)])
    return torch.stack(chosen).to(photos.device)


def _energies(
    photos: Tensor,
    owner: Tensor,
    boxes: Tensor,
    clean: Sequence[Scores],
    surrogates: Sequence[CountedNetwork],
    rules: RegionRules,
    at_once: int,
) -> Tensor:
    """SE of each box of each photo, ``[B]``; ``owner`` says whose box it is."""
    height, width = photos.shape[-2:]
    colour = (
        photos.mean(dim=(2, 3), keepdim=True) if rules.outside == "mean" else photos.new_zeros(len(photos), 3, 1, 1)
    )
    owner, boxes = owner.to(photos.device), boxes.to(photos.device)
    area = ((boxes[:, 2:] - boxes[:, :2] + 1).prod(dim=1) / (height * width)).float()
    if not rules.network_weight:
        return rules.area_weight * area

    def blanked() -> Iterator[tuple[Tensor, Tensor]]:
        for part, rows in zip(boxes.split(at_once), owner.split(at_once), strict=True):
            yield rows, torch.lerp(colour[rows], photos[rows], inside(part, height, width))

    total = photos.new_zeros(len(boxes))
    for model, scores in zip(surrogates, clean, strict=True):
        found = torch.cat([_divergence(scores, rows, model.logits(seen)) for rows, seen in blanked()])
        # A black photo is the same for everybody; one of the mean colour is not.
        blanks = colour if rules.outside == "mean" else colour[:1]
        blank = model.logits(blanks.expand(-1, -1, height, width))
        everyone = torch.arange(len(photos), device=photos.device)
        most = _divergence(scores, everyone, {name: answer.expand(len(photos), -1) for name, answer in blank.items()})
        total += found / most.clamp(min=_SMALLEST_CHANGE)[owner]
    return rules.network_weight * total / len(surrogates) + rules.area_weight * area


def _divergence(clean: Scores, rows: Tensor, seen: Scores) -> Tensor:
    """The mean over attributes of KL(clean | seen), ``[B]``; ``rows`` says which photo each was."""
    terms = []
    for name, scores in clean.items():
        was, now = F.log_softmax(scores[rows], dim=1), F.log_softmax(seen[name], dim=1)
        terms.append((was.exp() * (was - now)).sum(dim=1))
    return torch.stack(terms).mean(dim=0)
