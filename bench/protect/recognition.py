"""Recognition of protected faces: cosines held against thresholds, in words.

A threshold belongs to one recogniser: the smallest cosine that at most one in a thousand pairs of different people
exceeds (FAR 1e-3). Members of the embedded zoo are calibrated on rendered faces. Another recogniser has the threshold
that was last calibrated for it in the store, or else the one that papers used for it, which its card names, or none.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.utils import instantiate

from cloakbench.bench.protect.evaluate import VIEWS
from cloakbench.bench.protect.settings import Settings
from cloakbench.bench.protocols.verification.calibration import FARS, LEGACY_FARS
from cloakbench.bench.protocols.verification.impostors import calibration_on, impostor_thresholds
from cloakbench.bench.protocols.verification.thresholds import last_calibration
from cloakbench.datasets.base import Dataset

FAR = 1e-3

_PAIRS_NEEDED = 10_000  # of different people, for a threshold at FAR 1e-3
_RESAMPLES = 1000
_EMBED_BATCH = 100


@dataclass(frozen=True)
class Threshold:
    """The cosine above which a recogniser takes two faces for one person's, None when there is none; and whence."""

    value: float | None
    source: str


def find_thresholds(settings: Settings) -> dict[str, Threshold]:
    """The threshold of every surrogate and judge, by key."""
    worlds: list[Dataset] = []  # made when it is needed, once
    found = {}
    for key, model in settings.models.items():
        if key in settings.embedded:
            worlds = worlds or [instantiate(dict(settings.impostors))]
            found[key] = _on_rendered_faces(settings, key, worlds[0])
        elif (known := last_calibration(settings.store, settings.fingerprints[key], FAR)) is not None:
            found[key] = Threshold(known.threshold, f"calibrated on {known.photos} photos of {known.people} people")
        elif model.card.legacy_thresholds is not None:
            constant = model.card.legacy_thresholds[LEGACY_FARS.index(FAR)]
            found[key] = Threshold(constant, "the constant that papers copied, from LFW; calibrate gives a better one")
        else:
            advice = f"cloakbench calibrate model={model.card.name} dataset=... makes one, of {_PAIRS_NEEDED:,} pairs"
            found[key] = Threshold(None, f"there is none for this recogniser: {advice}")
    return found


def verdict(cosines: Mapping[str, Mapping[str, float | None]], thresholds: Mapping[str, Threshold]) -> str:
    """What the recognisers make of one face of a copy, in one line; ``cosines`` by model and view (`VIEWS`)."""
    if not cosines:
        return "no recogniser looked at it: name one with model@target=NAME"
    said = {view: _one_view(cosines, thresholds, view) for view in VIEWS}
    first = said.pop("photo")
    line = first.replace("recognised", f"recognised at FAR {_far()}", 1)
    unknown = [key for key in cosines if thresholds[key].value is None]
    if unknown:
        line = "; ".join(part for part in (line, f"no threshold for {', '.join(unknown)}") if part)
    if len(unknown) == len(cosines):
        return line
    others = [f"{VIEWS[view]}: {words if words != first else 'the same'}" for view, words in said.items()]
    return "; ".join([line, *others])


def still_recognised(
    cosines: Mapping[str, Mapping[str, float | None]], thresholds: Mapping[str, Threshold], key: str, view: str
) -> bool | None:
    """Whether a recogniser still knows the face; None when that cannot be said."""
    limit, cosine = thresholds[key].value, cosines[key].get(view)
    return None if limit is None or cosine is None else cosine > limit


def summary(
    rows: Sequence[Mapping[str, Any]], thresholds: Mapping[str, Threshold], surrogates: Collection[str]
) -> list[str]:
    """A line per recogniser over all faces of all copies."""
    lines = []
    judged = [row["cosines"] for row in rows if "cosines" in row]
    for key, threshold in thresholds.items() if judged else ():
        name = f"{key} (surrogate)" if key in surrogates else key
        if threshold.value is None:
            lines.append(f"{name}: no verdict, {threshold.source}")
            continue
        counts = []
        for view, words in VIEWS.items():
            known = [still_recognised(cosines, thresholds, key, view) for cosines in judged if key in cosines]
            counts.append(f"{sum(answer is True for answer in known)}{' ' + words if words else ''}")
        lines.append(
            f"{name}: still recognises {counts[0]} of {len(judged)} faces at FAR {_far()} ({', '.join(counts[1:])})"
        )
    return lines


def losses(rows: Sequence[Mapping[str, Any]], surrogates: Collection[str]) -> list[str]:
    """A line per recogniser: how alike faces are to their originals as the method made them, and after the way through
    the photo and its file; means over faces that were found again in every view."""
    lines = []
    judged = [row["cosines"] for row in rows if "cosines" in row]
    for key in judged[0] if judged else ():
        whole = [found for cosines in judged if None not in (found := cosines[key]).values()]
        if not whole:
            continue
        crop, photo, *rest = (sum(found[view] for found in whole) / len(whole) for view in ("crop", *VIEWS))
        others = ", ".join(f"{mean:.2f} {words}" for mean, words in zip(rest, list(VIEWS.values())[1:], strict=True))
        name = f"{key} (surrogate)" if key in surrogates else key
        lines.append(
            f"{name}: mean cosine to the original {crop:.2f} in the crop as made, {photo:.2f} in the saved photo "
            f"({others}), over {len(whole)} faces"
        )
    return lines


def _one_view(cosines: Mapping[str, Mapping[str, float | None]], thresholds: Mapping[str, Threshold], view: str) -> str:
    known = {key: still_recognised(cosines, thresholds, key, view) for key in cosines}
    judging = [key for key in cosines if thresholds[key].value is not None]
    parts = [
        f"{words} by {', '.join(keys)}"
        for words, wanted in (("still recognised", True), ("no longer recognised", False))
        if (keys := [key for key in judging if known[key] is wanted])
    ]
    if blind := [key for key in judging if known[key] is None]:
        parts.append(f"no face found again for {', '.join(blind)}")
    return "; ".join(parts)


def _on_rendered_faces(settings: Settings, key: str, world: Dataset) -> Threshold:
    faces, model = world.faces("impostor"), settings.models[key]
    calibration = calibration_on(faces, model, settings.fingerprints[key], FARS, _RESAMPLES, 0, _EMBED_BATCH)
    table = impostor_thresholds(settings.store, calibration, faces, model, settings.device)
    [value] = table.loc[table["far"] == FAR, "threshold"].to_list()
    if math.isnan(value):
        return Threshold(None, f"{len(faces)} rendered faces are too few for one: raise impostors.impostor_identities")
    return Threshold(float(value), f"calibrated on {len(faces)} rendered faces, and true of such only")


def _far() -> str:
    return "1e-3"
