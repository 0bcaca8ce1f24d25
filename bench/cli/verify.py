"""``cloakbench verify``: how well a recogniser tells one person from two, on a list of labelled pairs of photos."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from rich.table import Table
from rich.text import Text

from cloakbench.bench.config.compose import missing_settings
from cloakbench.bench.config.values import file_name
from cloakbench.bench.core.code_digests import code_digest
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.escape import terminal
from cloakbench.bench.core.hashing import content_key, tensor_digest
from cloakbench.bench.core.screen import Screen
from cloakbench.bench.core.status import OK
from cloakbench.bench.processes.pool import available_cores
from cloakbench.bench.processes.progress import track
from cloakbench.bench.recognisers.attribute_session import KEY
from cloakbench.bench.recognisers.attribute_verify import verify_attributes
from cloakbench.bench.recognisers.labelled_pairs import LabelledPairs, drawn_pairs, listed_pairs
from cloakbench.bench.recognisers.pair_rates import pair_rates
from cloakbench.bench.recognisers.session import OneModel, compose_one_model, faces_of
from cloakbench.bench.report.estimate import records
from cloakbench.bench.report.writer import frame_csv, write_text
from cloakbench.bench.store.embeddings import embedding_inputs, stored_embeddings

KIND = "verification"
DRAWN = "drawn"
"""What to give as ``pairs`` for pairs drawn from the data set's probes."""

_NAMES = {
    "accuracy": "accuracy",
    "accuracy_failed_wrong": "accuracy, failed pairs wrong",
    "auc": "AUC",
    "eer": "equal error rate",
}

_LEFT_OUT = {
    "contradictory": "listed as the same person and as two people",
    "with_itself": "a photo with itself",
    "repeated": "listed before",
}


def main(words: Sequence[str]) -> int:
    """``cloakbench verify model=NAME dataset=NAME [pairs=FILE] [where={COLUMN: VALUE}]``: a table, and JSON and CSV
    files under ``results/verify``. Exit status 1 when a photo of a listed pair could not be used. With
    ``attribute_model=NAME`` instead of a recogniser see `verify_attributes`.

    Pairs that the list contradicts itself on, pairs of a photo with itself and repeated ones are left out, counted and
    named."""
    if any(word.startswith(KEY) for word in words):
        return verify_attributes(words)
    one = compose_one_model(words, "verify", "verify")
    pairs = _pairs(one)
    rates, scores = _rates(one, pairs)
    folder = _write(one, pairs, rates, scores)
    failed = Counter(status for status in pairs.status if status != OK)
    console = Screen()
    console.print(_show(one, pairs, rates))
    for line in _left_out(pairs):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    if failed:
        console.print(f"Photos that could not be used: {dict(failed)}; see {folder / 'photos.csv'}", soft_wrap=True)
    console.print(f"Written: {folder / 'verification.json'}", soft_wrap=True, highlight=False)
    return 1 if failed or bool(np.isnan(scores).any()) else 0


def _pairs(one: OneModel) -> LabelledPairs:
    config = one.config
    if one.no_faces:
        raise ConfigError(one.no_faces)
    has_files = "root" in config.dataset.keys()  # noqa: SIM118 (a setting without a value is not "in" a config)
    if config.pairs == DRAWN or (config.pairs is None and not has_files):
        return drawn_pairs(faces_of(one).faces("probe"), config.drawn_per_fold, config.seed)
    if not has_files:
        raise ConfigError("a pair list names photo files: choose a data set with a root, such as dataset=folder")
    if missing := missing_settings(config.dataset):
        raise ConfigError(f"set {', '.join(f'dataset.{key}=...' for key in missing)}")
    faces_of(one)  # refuses crops that recognisers do not know
    return _listed(config, one.dataset_name)


def _listed(config: Any, dataset_name: str) -> LabelledPairs:
    """The pairs of a list, with every photo cropped once as the data set's settings say."""
    from cloakbench.datasets.crop_reader import CropReader, PlacedPhoto
    from cloakbench.datasets.crops import Cropper
    from cloakbench.datasets.detection import read_landmarks
    from cloakbench.datasets.pairs import read_pairs, sound_pairs

    dataset = config.dataset
    root = Path(dataset.root).expanduser()
    file = Path(config.pairs).expanduser() if config.pairs else root / "pairs.txt"
    if not config.pairs and not root.exists():
        raise ConfigError(
            f"{dataset_name} is not in {root}: cloakbench fetch dataset={dataset_name} says how to get it"
        )
    if not config.pairs and not file.exists():
        raise ConfigError(f"there is no {file}: name a list with pairs=FILE, or draw pairs with pairs={DRAWN}")
    where: Any = OmegaConf.to_container(config.where) if config.where else {}
    listed, left_out = sound_pairs(read_pairs(file, root, {key: str(value) for key, value in where.items()}))
    points = read_landmarks(Path(dataset.landmarks_file).expanduser(), root) if dataset.landmarks_file else {}
    cropper = Cropper(
        detector=instantiate(dataset.detector),
        aligned=dataset.aligned,
        max_megapixels=dataset.max_megapixels,
        min_crop_px=dataset.min_crop_px,
        cache=Path(dataset.cache).expanduser() if dataset.cache else None,
    )
    names = list(dict.fromkeys((*listed.left, *listed.right)))
    paths = [root / name for name in names]
    photos = [PlacedPhoto(str(path), points.get(path.resolve())) for path in paths]
    reader = CropReader(cropper, photos.__getitem__, available_cores())
    reader.expect(range(len(names)))
    faces = {}
    try:
        with track("cropping", len(names)) as tracker:
            for row, name in enumerate(names):
                crop = reader.crop(row)
                faces[name] = (crop.status, crop.note, crop.image)
                tracker.advance(name)
    finally:
        reader.close()
    how = file.name + "".join(f", {column} {value}" for column, value in where.items())
    pairs = listed_pairs(listed.left, listed.right, listed.same, listed.fold, faces, how)
    return replace(pairs, left_out=tuple((one.left, one.right, one.same, one.why) for one in left_out))


def _left_out(pairs: LabelledPairs) -> list[str]:
    """A line for each reason why pairs of the list are not used, with the first of them."""
    lines = []
    for why, words in _LEFT_OUT.items():
        some = [(left, right) for left, right, _, reason in pairs.left_out if reason == why]
        if some:
            lines.append(
                f"Left out, {words}: {len(some)}, the first is {some[0][0]} and {some[0][1]}; see left_out.csv"
            )
    return [terminal(line) for line in lines]


def _rates(one: OneModel, pairs: LabelledPairs) -> tuple[pd.DataFrame, np.ndarray]:
    """Rates and the cosine of each pair; both are in the store afterwards."""
    config, store = one.config, one.store
    batch = config.plan.embed_batch
    device = torch.device(config.device)
    embeddings = stored_embeddings(store, one.model, one.fingerprint, pairs.images, batch, device)
    scored = pairs.scored(embeddings)
    key = _key(one, pairs)
    rates = store.read_frame(KIND, key)
    if rates is None:
        rates = pair_rates(scored, config.statistics.resamples, config.seed, tuple(config.fars))
        if not np.isnan(scored.score[_cropped(pairs)]).any():  # a recogniser that did not answer is asked again
            store.write_frame(KIND, key, rates)
    return rates, scored.score


def _cropped(pairs: LabelledPairs) -> np.ndarray:
    """Which pairs have two usable photos."""
    usable = np.array([status == OK for status in pairs.status])
    return usable[pairs.left] & usable[pairs.right]


def _key(one: OneModel, pairs: LabelledPairs) -> str:
    """Names the result by everything that decides it."""
    labels = np.stack([pairs.left, pairs.right, pairs.same, pairs.fold, pairs.left_person, pairs.right_person])
    inputs = {
        **embedding_inputs(one.fingerprint, tensor_digest(pairs.images), one.config.plan.embed_batch),
        "photos": list(pairs.photo),
        "status": list(pairs.status),
        "labels": tensor_digest(torch.from_numpy(labels.astype(np.int64))),
        "fars": [float(far) for far in one.config.fars],
        "resamples": one.config.statistics.resamples,
        "seed": one.config.seed,
        "code": code_digest("cloakbench.bench.recognisers.pair_rates", "cloakbench.bench.recognisers.labelled_pairs"),
    }
    return content_key(KIND, inputs)


def _write(one: OneModel, pairs: LabelledPairs, rates: pd.DataFrame, scores: np.ndarray) -> Path:
    """The result for people and programs; equal results give equal bytes."""
    name = f"{file_name(one.name)}-{one.dataset_name}-{_key(one, pairs)[:8]}"
    folder = Path(one.config.paths.results) / "verify" / name
    photo, status = np.array(pairs.photo, dtype=object), np.array(pairs.status, dtype=object)
    each = pd.DataFrame(
        {
            "left": photo[pairs.left],
            "right": photo[pairs.right],
            "same": pairs.same.astype(int),
            "fold": pairs.fold,
            "cosine": scores,
            "left_status": status[pairs.left],
            "right_status": status[pairs.right],
        }
    )
    photos = pd.DataFrame({"photo": photo, "status": status, "note": pairs.note})
    left_out = pd.DataFrame(pairs.left_out, columns=["left", "right", "same", "why"]).astype({"same": int})
    frames = {"rates": rates, "pairs": each, "photos": photos[photos["status"] != OK], "left_out": left_out}
    for stem, frame in frames.items():
        write_text(folder / f"{stem}.csv", frame_csv(frame))
    about = {
        "model": one.name,
        "weights_sha256": one.model.card.weights_sha256,
        "dataset": one.dataset_name,
        "pairs": pairs.how,
        "n_pairs": len(scores),
        "n_pairs_left_out": {why: sum(reason == why for *_, reason in pairs.left_out) for why in _LEFT_OUT},
        "n_pairs_without_score": int(np.isnan(scores).sum()),
        "photos": dict(sorted(Counter(pairs.status).items())),
        "rates": [{key: _plain(value) for key, value in row.items()} for row in records(rates)],
    }
    write_text(folder / "verification.json", json.dumps(about, indent=1) + "\n")
    return folder


def _plain(value: Any) -> Any:
    """A cell as JSON says it: null for what is not there."""
    return None if value is None or (isinstance(value, float) and not np.isfinite(value)) else value


def _show(one: OneModel, pairs: LabelledPairs, rates: pd.DataFrame) -> Table:
    title = f"Verification by {one.name}: {len(pairs.same)} pairs of {one.dataset_name}, {pairs.how}"
    table = Table(title=Text(terminal(title)), box=None, title_justify="left", pad_edge=False)
    for column in ("rate", "value", "standard error", "95 % interval", "pairs", "failed", "people", "note"):
        table.add_column(column, justify="left" if column in ("rate", "note") else "right")
    for row in records(rates):
        metric = str(row["metric"])
        table.add_row(
            _NAMES.get(metric, metric.replace("tar_far_", "TAR at FAR ")),
            _number(row["value"], digits=5 if metric == "auc" else 4),
            _number(row["standard_error"], gap=""),
            f"{row['low']:.4f} to {row['high']:.4f}" if np.isfinite(row["low"]) else "",
            str(row["n"]),
            str(row["n_failed"]),
            str(row["n_identities"]),
            str(row["note"]) if isinstance(row["note"], str) else "",
        )
    return table


def _number(value: float, gap: str = "–", digits: int = 4) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else gap
