"""The poisoning track's part of the results: from stored answers to rows of the tidy frame."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from cloakbench.bench.engine.plan import make_protector
from cloakbench.bench.engine.protocol import TARGET_FAILED
from cloakbench.bench.engine.worker import UNCHANGED, training_cost, wanted_metrics
from cloakbench.bench.protocols.poisoning.brief import AttackJob, CellUnits, Poisoning, Scenario, attack_key
from cloakbench.bench.protocols.poisoning.rates import Answer, poisoning_measurements, poisoning_records
from cloakbench.bench.protocols.poisoning.work import quality_keys
from cloakbench.bench.protocols.poisoning.worker import ATTACKS, Published, published
from cloakbench.bench.protocols.quality.metrics import quality_measurements
from cloakbench.bench.store.store import EntryGoneError, Store
from cloakbench.datasets.base import OK
from cloakbench.methods.base import METHOD_FAILED

PROTOCOL = "poisoning"


@dataclass(frozen=True)
class Poisoned:
    """The results of the track.

    Attributes:
        measurements: rows for ``Results.measurements``: the attacker is the target, regime and share the transform.
        records: one row per test photo, training and cell.
        costs: rows for ``Results.costs``.
        setup: what to print under a table.
        problems: one line per distinct failure.
    """

    measurements: pd.DataFrame
    records: pd.DataFrame
    costs: pd.DataFrame
    setup: dict[str, Any]
    problems: list[str]


def assemble_poisoning(
    track: Poisoning, store: Store, resamples: int, unfinished: AbstractSet[Hashable] = frozenset()
) -> Poisoned:
    """The results of the track, from the store alone.

    Args:
        track, store: what was worked on, and where its results lie.
        resamples: bootstrap draws.
        unfinished: names of the jobs that ended in an error, so that anything of theirs may be missing.

    Raises:
        EntryGoneError: something that was stored is gone or was damaged; nothing is put in its place.
    """
    measurements, records, costs, problems = [], [], [], []
    seed = track.brief.work.seed
    for number, (cell, units) in enumerate(zip(track.cells, track.brief.cells, strict=True)):
        axes = {"method": cell.method, "epsilon_255": cell.epsilon_255, "surrogate": cell.surrogate}
        state = published(store, units)
        if not state.status:
            if unfinished.isdisjoint(unit.key for unit, _ in units.units):
                raise EntryGoneError(f"protected photos of {cell.label} are gone from {store.root}")
            state = Published((), METHOD_FAILED, "not finished")
        if state.status != OK:
            problems.append(f"{cell.label}: {state.note}")
        quality = _quality(track, store, units, state, resamples, unfinished)
        shared = axes | {"protocol": PROTOCOL, "white_box": False, "same_family": False}
        measurements.append(quality.assign(target="", transform=UNCHANGED, **shared))
        for scenario in track.scenarios:
            jobs = {one: AttackJob(number, scenario, one) for one in track.seeds}
            answers = {one: _answer(track, store, state, job, unfinished) for one, job in jobs.items()}
            found = poisoning_records(answers, track.brief.test_labels, track.test.image_id, track.test.identity)
            rates = poisoning_measurements(found, [a.train_accuracy for a in answers.values()], resamples, seed)
            place = axes | {"target": scenario.attacker, "transform": scenario.label}
            family = _same_family(track, cell.surrogates, scenario)
            measurements.append(rates.assign(**shared | place | {"same_family": family}))
            records.append(found.assign(**place))
            problems += [
                f"{scenario.attacker}, {scenario.label}, seed {one}: {cell.label}: {answer.note}"
                for one, answer in answers.items()
                if answer.status == TARGET_FAILED
            ]
        costs.append(axes | _cost(store, units, state, cell.config, cell.method))
    setup = {
        "poisoning_identities": len(track.train.identities()),
        "poisoning_photos_published": len(track.train),
        "poisoning_photos_tested": len(track.test),
        "poisoning_seeds": len(track.seeds),
        **({"poisoning_other_identities": track.other_people} if track.other_people else {}),
    }
    return Poisoned(
        pd.concat(measurements, ignore_index=True),
        pd.concat(records, ignore_index=True),
        pd.DataFrame(costs),
        setup,
        list(dict.fromkeys(problems)),
    )


def _answer(
    track: Poisoning, store: Store, state: Published, job: AttackJob, unfinished: AbstractSet[Hashable]
) -> Answer:
    if state.status != OK:
        return Answer((), status=state.status, note=state.note)
    key, _ = attack_key(track.brief, job, state.pixels)
    stored = store.read_tensors(ATTACKS, key)
    if stored is None:
        failure = store.read_json("failures", key)
        if failure is None and job not in unfinished:
            raise EntryGoneError(f"answers {key} of {job.scenario.attacker} are gone from {store.root}")
        failure = failure or {"status": TARGET_FAILED, "reason": "not finished"}
        return Answer((), status=failure["status"], note=failure["reason"])
    tensors, note = stored
    return Answer(tensors["predicted"].tolist(), note["train_accuracy"])


def _quality(
    track: Poisoning,
    store: Store,
    cell: CellUnits,
    state: Published,
    resamples: int,
    unfinished: AbstractSet[Hashable],
) -> pd.DataFrame:
    """Image metrics over all published photos of a cell."""
    metrics = wanted_metrics(track.brief.work)
    keys = quality_keys(track, cell, state) if state.status == OK else []
    frames = [frame for frame in (store.read_frame("quality", key) for key in keys) if frame is not None]
    if len(frames) < len(keys) and unfinished.isdisjoint(unit.key for unit, _ in cell.units):
        raise EntryGoneError(f"image metrics of published photos are gone from {store.root}")
    if not keys or len(frames) < len(keys):
        status = METHOD_FAILED if state.status == OK else state.status
        lost = pd.DataFrame({"identity": list(track.train.identity), "status": status})
        frames = [lost.assign(**{metric.name: np.nan for metric in metrics})]
    whole = pd.concat(frames, ignore_index=True)
    return quality_measurements(metrics, whole, resamples, track.brief.work.seed)


def _cost(store: Store, cell: CellUnits, state: Published, config: Mapping[str, Any], method: str) -> dict[str, Any]:
    """Cost per published photo, and what the method reports of its own search."""
    abouts = [store.read_about("protected", unit.key) for unit, _ in cell.units] if state.status == OK else []
    if None in abouts:
        raise EntryGoneError(f"protected photos of {method} are gone from {store.root}")
    known = [about for about in abouts if about is not None]
    photos = sum(len(about["status"]) for about in known)

    def per_photo(name: str) -> float:
        return sum(about["cost"][name] for about in known) / photos if photos else np.nan

    flags = [about["facts"].get("converged") for about in known if "converged" in about.get("facts", {})]
    converged = "" if not flags or None in flags else "yes" if all(flags) else "no"
    return {
        "scope": f"{make_protector(config, method).scope}, poisoning",
        "images": photos,
        "seconds_per_image": per_photo("seconds"),
        "forward_per_image": per_photo("forward_images"),
        "backward_per_image": per_photo("backward_images"),
        **training_cost(known),
        "peak_memory_mib": max((about["cost"]["peak_memory_mib"] for about in known), default=np.nan),
        "status": OK if known else METHOD_FAILED,
        "note": state.note,
        "converged": converged,
    }


def _same_family(track: Poisoning, surrogates: tuple[str, ...], scenario: Scenario) -> bool:
    """Whether the attacker trains an architecture of the family of a surrogate."""
    family = track.brief.attackers[scenario.attacker].get("family")
    return any(track.brief.work.models[key].get("family") == family for key in surrogates)
