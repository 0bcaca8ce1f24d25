"""Puts what is stored into the one tidy frame that reports are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cloakbench.bench.core.hashing import tensor_digest
from cloakbench.bench.core.redaction import without_secret_settings, without_secrets
from cloakbench.bench.engine.experiment import Experiment
from cloakbench.bench.engine.plan import Cell, Unit, make_protector, read_limits
from cloakbench.bench.engine.run_status import Inventory
from cloakbench.bench.engine.scoring import MeasureJob
from cloakbench.bench.engine.worker import UNCHANGED, quality_key, training_cost, wanted_metrics
from cloakbench.bench.protocols.poisoning.collect import Poisoned
from cloakbench.bench.protocols.quality.metrics import QualityMetric, quality_measurements
from cloakbench.bench.report.results import MEASUREMENT_COLUMNS, Example, Results
from cloakbench.bench.store.store import EntryGoneError
from cloakbench.datasets.base import OK
from cloakbench.methods.base import METHOD_FAILED


def assemble(
    experiment: Experiment, inventory: Inventory, measured: Mapping[MeasureJob, str], poisoned: Poisoned | None = None
) -> Results:
    """Results of an experiment from the store alone.

    Raises:
        EntryGoneError: something that was stored is gone or was damaged; nothing is put in its place.
    """
    frames = [_rates(experiment, inventory, job, key) for job, key in measured.items()]
    costs = _costs(experiment, inventory)
    if experiment.cells:
        frames.append(_quality(experiment, inventory))
    if poisoned is not None:
        frames.append(poisoned.measurements)
        costs = pd.concat([costs, poisoned.costs], ignore_index=True)
    measurements = pd.concat(frames, ignore_index=True).reindex(columns=list(MEASUREMENT_COLUMNS))
    measurements["note"] = [without_secrets(note) if isinstance(note, str) else note for note in measurements["note"]]
    thresholds = [
        _read(experiment, "thresholds", key).assign(target=job.target)
        for job, key in measured.items()
        if job.transform == UNCHANGED
    ]
    return Results(
        name=experiment.config.name,
        dataset=f"{experiment.manifest.name} {experiment.manifest.version}",
        manifest_sha256=experiment.manifest_digest,
        measurements=measurements,
        models=_models(experiment),
        methods=_methods((*experiment.cells, *(experiment.poisoning.cells if experiment.poisoning else ()))),
        costs=costs,
        thresholds=pd.concat(thresholds, ignore_index=True) if thresholds else _NO_THRESHOLDS,
        examples=_examples(experiment, inventory),
        setup={
            "description": without_secrets(experiment.config.description),
            **(_sizes(experiment) if experiment.targets else {}),
            **_subsets(experiment),
            **(poisoned.setup if poisoned is not None else {}),
            "seed": experiment.config.seed,
            "resamples": experiment.config.statistics.resamples,
        },
    )


def _subsets(experiment: Experiment) -> dict[str, str]:
    """What the reader must know of methods that ran on fewer probes than the others."""
    words = [
        f"{method} on {limit.photos or 'all'} photos of {limit.people or 'all'} people"
        for method, limit in read_limits(experiment.config).items()
        if limit.photos or limit.people
    ]
    return {"fewer_probes": ", ".join(words)} if words else {}


_NO_THRESHOLDS = pd.DataFrame(columns=["target", "far", "threshold", "low", "high", "n_pairs", "n_identities"])


def _sizes(experiment: Experiment) -> dict[str, Any]:
    faces = experiment.faces
    people = len(faces["probe"].identities())
    return {
        "identities": people,
        "probes_per_identity": len(faces["probe"]) / people,
        "references_per_identity": len(faces["reference"]) / people if "reference" in faces else 0,
        "distractors": len(faces["distractor"]) if "distractor" in faces else 0,
        "impostor_faces": len(faces["impostor"]) if "impostor" in faces else 0,
    }


def read_records(
    experiment: Experiment, measured: Mapping[MeasureJob, str], poisoned: Poisoned | None = None
) -> dict[str, pd.DataFrame]:
    """Per-image records of every cell, target and transform, by protocol."""
    named = {} if poisoned is None else {"poisoning": poisoned.records}
    frames = [_name_cells(experiment, _read(experiment, "records", key), job) for job, key in measured.items()]
    if not frames:
        return named
    records = pd.concat(frames, ignore_index=True)
    return named | {
        str(name): some.dropna(axis="columns", how="all").drop(columns=["protocol", "cell"])
        for name, some in records.groupby("protocol")
    }


def _rates(experiment: Experiment, inventory: Inventory, job: MeasureJob, key: str) -> pd.DataFrame:
    rates = _name_cells(experiment, _read(experiment, "measurements", key), job)
    rates = _with_reasons(rates, np.array([inventory.photo_reasons(cell) for cell in experiment.cells], dtype=object))
    cards, attacked_with = experiment.cards, experiment.same_weights[job.target]
    white_box = [not attacked_with.isdisjoint(cell.surrogates) for cell in experiment.cells]
    same_family = [
        not white and any(cards[key].family == cards[job.target].family for key in cell.surrogates)
        for white, cell in zip(white_box, experiment.cells, strict=True)
    ]
    place = rates["cell"].to_numpy()
    return rates.assign(white_box=np.array(white_box)[place], same_family=np.array(same_family)[place])


def _with_reasons(rates: pd.DataFrame, reasons: np.ndarray) -> pd.DataFrame:
    """Rows from which photos are missing say why, where the method said it; ``reasons`` by number of the cell."""
    why = reasons[rates["cell"].to_numpy()]
    failed = (rates["n_failed"].fillna(0) > 0) & rates["status"].isin([OK, METHOD_FAILED])
    said = np.array([bool(reason) for reason in why]) & failed.to_numpy()
    notes = [
        "; ".join(part for part in (note, reason) if isinstance(part, str) and part) if told else note
        for note, reason, told in zip(rates["note"], why, said, strict=True)
    ]
    return rates.assign(note=notes)


def _name_cells(experiment: Experiment, frame: pd.DataFrame, job: MeasureJob) -> pd.DataFrame:
    """Add the axes of the experiment to rows that know only their cell's number."""
    place = frame["cell"].to_numpy()
    cells = experiment.cells
    return frame.assign(
        method=np.array([cell.method for cell in cells], dtype=object)[place],
        epsilon_255=np.array([cell.epsilon_255 for cell in cells])[place],
        surrogate=np.array([cell.surrogate for cell in cells], dtype=object)[place],
        target=job.target,
        transform=job.transform,
    )


def _quality(experiment: Experiment, inventory: Inventory) -> pd.DataFrame:
    """Image metrics, averaged over the photos that went through, with identity intervals."""
    probes = experiment.faces["probe"]
    originals = {
        rows: tensor_digest(probes.images[list(rows)]) for rows in {unit.chunk.probes for unit in inventory.units}
    }
    metrics = wanted_metrics(experiment.brief)
    frames, gone = [], []
    for cell in experiment.cells:
        records = []
        for unit in inventory.of(cell):
            stored = None
            if about := inventory.about.get(unit.key):
                key = quality_key(experiment.brief, originals[unit.chunk.probes], about["pixels"], about["status"])
                stored = experiment.store.read_frame("quality", key)
                if stored is None and unit.key not in inventory.unfinished:
                    gone.append(key)
            records.append(_lost_quality(experiment, unit, metrics) if stored is None else stored)
        rates = quality_measurements(
            metrics,
            pd.concat(records, ignore_index=True),
            experiment.config.statistics.resamples,
            experiment.config.seed,
        )
        rates = _with_reasons(rates.assign(cell=0), np.array([inventory.photo_reasons(cell)], dtype=object))
        frames.append(
            rates.assign(
                protocol="quality",
                method=cell.method,
                epsilon_255=cell.epsilon_255,
                surrogate=cell.surrogate,
                target="",
                transform=UNCHANGED,
                white_box=False,
                same_family=False,
            )
        )
    if gone:
        raise EntryGoneError(f"image metrics {gone[0]} are gone from {experiment.store.root}")
    return pd.concat(frames, ignore_index=True)


def _lost_quality(experiment: Experiment, unit: Unit, metrics: Sequence[QualityMetric]) -> pd.DataFrame:
    """Rows without values for a unit whose method raised."""
    probes = experiment.faces["probe"]
    frame = pd.DataFrame(
        {
            "image_id": [probes.image_id[row] for row in unit.chunk.probes],
            "identity": [probes.identity[row] for row in unit.chunk.probes],
            "status": METHOD_FAILED,
        }
    )
    return frame.assign(**{metric.name: np.nan for metric in metrics})


def _costs(experiment: Experiment, inventory: Inventory) -> pd.DataFrame:
    rows = []
    for cell in experiment.cells:
        planned = inventory.of(cell)
        units = [unit for unit in planned if unit.key in inventory.about]
        costs = [inventory.about[unit.key]["cost"] for unit in units]
        photos = sum(len(unit.chunk.probes) for unit in units)
        total = {name: sum(cost[name] for cost in costs) for name in ("seconds", "forward_images", "backward_images")}
        whole = len(units) == len(planned)
        rows.append(
            {
                "method": cell.method,
                "epsilon_255": cell.epsilon_255,
                "surrogate": cell.surrogate,
                "scope": make_protector(cell.config, cell.method).scope,
                "images": photos,
                "seconds_per_image": total["seconds"] / photos if whole else np.nan,
                "forward_per_image": total["forward_images"] / photos if whole else np.nan,
                "backward_per_image": total["backward_images"] / photos if whole else np.nan,
                **training_cost([inventory.about[unit.key] for unit in units]),
                "peak_memory_mib": max((cost["peak_memory_mib"] for cost in costs), default=np.nan),
                "status": OK if whole else METHOD_FAILED,
                "note": inventory.reasons(cell),
            }
        )
    return pd.DataFrame(rows)


def _methods(cells: Sequence[Cell]) -> pd.DataFrame:
    """What the class attributes of every method say, one row a key."""
    built = {cell.method: make_protector(cell.config, cell.method) for cell in cells}
    rows = [
        {
            "key": key,
            "name": protector.name,
            "scope": protector.scope,
            "goal": protector.goal,
            "needs": ", ".join(sorted(protector.needs)),
            "targeted": protector.targeted,
            "trained": protector.is_trained,
            "person_specific": protector.person_specific,
            "norm": protector.budget.norm if protector.budget else "",
            "paper": protector.paper,
            "notes": "; ".join(protector.notes()),
        }
        for key, protector in built.items()
    ]
    return pd.DataFrame(rows)


def _models(experiment: Experiment) -> pd.DataFrame:
    rows = []
    for key, card in experiment.cards.items():
        roles = [role for role, keys in experiment.roles.items() if key in keys]
        rows.append({**without_secret_settings(vars(card)), "name": key, "roles": ", ".join(roles)})
    return pd.DataFrame(rows)


def _examples(experiment: Experiment, inventory: Inventory) -> tuple[Example, ...]:
    """The first probe of the first people, under every method at its largest budget on the first surrogate."""
    if not experiment.cells:
        return ()
    probes = experiment.faces["probe"]
    first = {name: probes.identity.index(name) for name in probes.identities()[: experiment.config.report.examples]}
    protected: dict[int, dict[str, Any]] = {row: {} for row in first.values()}
    gone = []
    for cell in _shown_cells(experiment):
        for unit in inventory.of(cell):
            shown = [row for row in first.values() if row in unit.chunk.probes]
            if not shown or unit.key not in inventory.about:
                continue
            stored = experiment.store.read_photos("protected", unit.key)
            if stored is None:
                gone.append(unit.cell.label)
                continue
            for row in shown:
                place = unit.chunk.probes.index(row)
                if stored[1]["status"][place] == OK:
                    protected[row][cell.method_label] = stored[0][place]
    if gone:
        raise EntryGoneError(f"protected photos of {gone[0]} are gone from {experiment.store.root}")
    return tuple(Example(probes.image_id[row], probes.images[row], protected[row]) for row in first.values())


def _shown_cells(experiment: Experiment) -> list[Cell]:
    """One cell per method: the largest budget, the first surrogate."""
    best: dict[str, Cell] = {}
    for cell in experiment.cells:
        known = best.get(cell.method)
        if known is None or np.nan_to_num(cell.epsilon_255) > np.nan_to_num(known.epsilon_255):
            best[cell.method] = cell
    return list(best.values())


def _read(experiment: Experiment, kind: str, key: str) -> pd.DataFrame:
    frame = experiment.store.read_frame(kind, key)
    if frame is None:
        raise EntryGoneError(f"{kind} {key} are gone from {experiment.store.root}")
    return frame
