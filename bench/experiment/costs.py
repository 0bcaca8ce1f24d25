"""Costs: what protecting took, in work and in change of photos, one row for each cell of a publication."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from cloakbench.bench.core.status import METHOD_FAILED, OK
from cloakbench.bench.experiment.run_status import RunStatus
from cloakbench.bench.plan.publication import PROBES, Publication
from cloakbench.bench.statistics.intervals import Interval, ratio_interval

_PER_PHOTO = {
    "seconds_per_image": "seconds",
    "forward_per_image": "forward_images",
    "backward_per_image": "backward_images",
}

_PARTS = {
    "region_seconds_per_image": ("region_seconds",),
    "perturbation_seconds_per_image": ("direction_seconds", "generator_seconds"),
}
"""Parts of a method's work that it times itself, column to its facts."""


def cost_rows(status: RunStatus, publication: Publication) -> Iterator[dict[str, Any]]:
    """Cost per protected photo of every cell, its ball and the norms used, and what the method says of its own search;
    NaN where a unit failed."""
    foreign, config = publication.name != PROBES, status.experiment.config
    for cell, units in zip(publication.cells, publication.units, strict=True):
        abouts = [about for one in units if (about := status.states[one.unit.key].about)]
        photos = sum(len(about["status"]) for about in abouts)
        whole = len(abouts) == len(units)
        training = abouts[0].get("training", {}) if abouts else {}  # all units of a cell tell the same
        views = [about["views"] for about in abouts if "views" in about]
        per_photo = {
            column: sum(about["cost"][name] for about in abouts) / photos if whole and photos else np.nan
            for column, name in _PER_PHOTO.items()
        }
        ball = cell.protector.budget
        yield {
            **cell.axes,
            "publication": publication.name if foreign else "",
            "scope": cell.protector.scope,
            "images": photos,
            **per_photo,
            **_by_part(abouts, whole),
            **_by_step(cell.protector.scope, abouts, sum(len(one.unit.chunk.identities) for one in units), whole),
            "training_seconds": training.get("seconds", 0.0),
            "training_passes": training.get("forward_images", 0) + training.get("backward_images", 0),
            "view_seconds": float(sum(one["seconds"] for one in views)),
            "view_passes": sum(one["forward_images"] for one in views),
            "peak_memory_mib": max(
                (peak for about in abouts if (peak := about.get("added_peak_mib")) is not None), default=np.nan
            ),
            "status": OK if whole else METHOD_FAILED,
            "note": status.reasons(units) or _refusal(abouts),
            "converged": _converged(abouts),
            **_bits_read(abouts, whole, int(config.statistics.resamples), int(config.seed)),
            "norm": ball.norm if ball else "",
            "size_255": float(ball.size_255) if ball else np.nan,
            **{norm: _mean_change(abouts, norm) for norm in ("linf_255", "l2_255")},
        }


def _by_part(abouts: list[Mapping[str, Any]], whole: bool) -> dict[str, float]:
    """Seconds per photo of each part of the work; NaN where the method does not time it."""
    photos = sum(len(about["status"]) for about in abouts)
    found = {}
    for column, names in _PARTS.items():
        told = [about.get("facts", {}).get(name) for about in abouts for name in names]
        known = whole and photos and None not in told
        found[column] = math.fsum(told) / photos if known else math.nan
    return found


def _by_step(scope: str, abouts: list[Mapping[str, Any]], people: int, whole: bool) -> dict[str, float]:
    """Seconds of learning a person, of a photo thereafter, and of getting one back; NaN where there is no such step."""
    photos = sum(len(about["status"]) for about in abouts)
    spent = sum(about["cost"]["seconds"] for about in abouts)
    fit = sum(about["cost"].get("fit_seconds", 0.0) for about in abouts)
    back = next((about["recovery"] for about in abouts if "seconds" in about.get("recovery", {})), None)
    learns, known = scope == "identity" and fit > 0, whole and bool(photos and people)
    return {
        "fit_seconds_per_person": fit / people if known and learns else math.nan,
        "apply_seconds_per_image": (spent - fit) / photos if known and learns else math.nan,
        "recovery_seconds_per_image": back["seconds"] / back["photos"] if known and back else math.nan,
    }


def _refusal(abouts: list[Mapping[str, Any]]) -> str:
    """Why a method that gives photos back did not when that was to be timed; empty where it did."""
    refused = (about.get("recovery", {}).get("refused") for about in abouts)
    return next((f"not given back: {reason}" for reason in refused if reason), "")


def _mean_change(abouts: list[Mapping[str, Any]], norm: str) -> float:
    """Mean over the photos that were protected; NaN where there is none."""
    used = [size for about in abouts for size, state in zip(about[norm], about["status"], strict=True) if state == OK]
    return math.fsum(used) / len(used) if used else math.nan


def _bits_read(abouts: list[Mapping[str, Any]], whole: bool, resamples: int, seed: int) -> dict[str, float]:
    """Share of the bits that a method wrote into photos and read back, its interval over people, and how many there
    are; NaN for methods that write none."""
    told = [by_person for about in abouts if (by_person := about.get("facts", {}).get("bits_read")) is not None]
    people = [name for by_person in told for name in by_person]
    counts = np.array([counts for by_person in told for counts in by_person.values()], dtype=np.float64).reshape(-1, 2)
    found = Interval(math.nan, math.nan, math.nan, 0)
    if whole and len(counts) and counts[:, 1].sum():
        found = ratio_interval(counts[:, 0], counts[:, 1], people, resamples, seed)
    return {
        "bits_read": found.value,
        "bits_read_low": found.low,
        "bits_read_high": found.high,
        "bits_written": float(counts[:, 1].sum()) if whole and len(counts) else math.nan,
    }


def _converged(abouts: list[Mapping[str, Any]]) -> str:
    """Whether the method's search met its stop error in every unit; empty for methods that have none."""
    flags = [about["facts"]["converged"] for about in abouts if "converged" in about.get("facts", {})]
    return "" if not flags or None in flags else "yes" if all(flags) else "no"
