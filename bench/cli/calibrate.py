"""``cloakbench calibrate``: the verification thresholds of a recogniser, beside those that papers copied."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from rich.table import Table
from rich.text import Text

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.escape import terminal
from cloakbench.bench.core.screen import Screen
from cloakbench.bench.protocols.verification.impostors import calibration_on, impostor_thresholds
from cloakbench.bench.protocols.verification.thresholds import KIND
from cloakbench.bench.recognisers.session import compose_one_model, faces_of
from cloakbench.bench.report.estimate import records

_NO_ROLE = "set dataset.impostor_root=FOLDER, or dataset.impostor_identities=N to take people who play no other role"


def main(words: Sequence[str]) -> int:
    """``cloakbench calibrate model=NAME dataset=NAME``: cosine thresholds from all pairs of different people."""
    one = compose_one_model(words, "calibrate", "calibrate")
    config, card = one.config, one.model.card
    dataset = faces_of(one)
    if "impostor" not in dataset.roles():
        raise ConfigError(f"data set {dataset.name} has no people to calibrate on: {_NO_ROLE}")
    faces = dataset.faces("impostor")
    calibration = calibration_on(
        faces,
        one.model,
        one.fingerprint,
        config.fars,
        config.statistics.resamples,
        config.seed,
        config.plan.embed_batch,
    )
    table = impostor_thresholds(one.store, calibration, faces, one.model, torch.device(config.device))
    console = Screen()
    console.print(_show(one.name, f"{dataset.name} {dataset.version}", len(faces), table))
    if card.legacy_thresholds is None:
        console.print("The card of this network names no legacy thresholds.", highlight=False)
    path = one.store.path(KIND, calibration.key(), ".parquet")
    console.print(f"Stored: {path}", soft_wrap=True, highlight=False)
    return 0 if set(table["status"]) == {"ok"} else 1


def _show(name: str, dataset: str, photos: int, thresholds: pd.DataFrame) -> Table:
    title = f"Thresholds of {name} on {dataset}, {photos} photos"
    table = Table(title=Text(terminal(title)), box=None, title_justify="left", pad_edge=False)
    legacy = bool(thresholds["legacy"].notna().any())
    titles = ["FAR", "threshold", "95 % interval", "pairs", "people"]
    titles += ["legacy threshold", "its real FAR", "95 % interval"] * legacy
    for column in titles:
        table.add_column(column, justify="right")
    table.add_column("note")
    for row in records(thresholds.iloc[::-1]):
        cells = [f"{row['far']:g}", _number(row["threshold"]), _interval(row["low"], row["high"])]
        cells += [str(row["n_pairs"]), str(row["n_identities"])]
        if legacy:
            ends = _interval(row["legacy_far_low"], row["legacy_far_high"])
            cells += [_number(row["legacy"]), _number(row["legacy_far"]), ends]
        table.add_row(*cells, str(row["note"]))
    return table


def _number(value: Any) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.4f}"


def _interval(low: Any, high: Any) -> str:
    return "" if low is None or math.isnan(low) else f"{low:.4f} to {high:.4f}"
