"""``cloakbench verify attribute_model=NAME dataset=NAME``: how well an attribute network tells what photos show."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.table import Table

from cloakbench.bench.config.values import file_name
from cloakbench.bench.core.hashing import content_key
from cloakbench.bench.core.screen import Screen, plain
from cloakbench.bench.recognisers.attribute_accuracy import AttributeAccuracy, attribute_accuracies
from cloakbench.bench.recognisers.attribute_session import OneAttributeModel, compose_one_attribute_model
from cloakbench.bench.report.writer import frame_csv, write_text
from cloakbench.datasets.attribute_task import AttributeTask
from cloakbench.models.attribute_surrogate import AttributeSurrogate


def verify_attributes(words: Sequence[str]) -> int:
    """A table, and JSON and CSV files under ``results/verify``; returns the exit status.

    Raises:
        ConfigError: no network, no task, or faces that it cannot be asked about.
        AttributeTaskError: network, task and labels of the data set do not fit.
    """
    one = compose_one_attribute_model(words, "verify")
    task = one.task()
    surrogate = AttributeSurrogate(one.model, task)  # refuses a task that does not fit before any face is read
    dataset, faces = one.faces(words)
    config, device = one.config, torch.device(one.config.device)
    found, unlabelled = attribute_accuracies(
        surrogate.to(device), faces, config.plan.embed_batch, device, config.statistics.resamples, config.seed
    )
    folder = _write(one, task, dataset, faces.digests(), found, unlabelled)
    screen = Screen()
    screen.print(_show(one, task, dataset, found))
    for line in _confused(found, task):
        screen.print(plain(line), soft_wrap=True)
    if unlabelled:
        screen.print(plain(f"{unlabelled} photos have not all labels of {task.name} and are left out"), soft_wrap=True)
    screen.path(f"Written: {folder / 'attributes.json'}")
    return 0


def _write(
    one: OneAttributeModel,
    task: AttributeTask,
    dataset: str,
    photos: Sequence[str],
    found: Sequence[AttributeAccuracy],
    unlabelled: int,
) -> Path:
    """The result for people and programs; equal results give equal bytes."""
    about = {
        "attribute_model": one.name,
        "weights_sha256": one.model.card.weights_sha256,
        "dataset": dataset,
        "attribute_task": task.name,
        "photos_unlabelled": unlabelled,
        "attributes": {
            each.name: {
                "balanced_accuracy": each.value,
                "low": each.low if np.isfinite(each.low) else None,
                "high": each.high if np.isfinite(each.high) else None,
                "accuracy": each.accuracy,
                "photos": each.photos,
                "people": each.people,
            }
            for each in found
        },
    }
    key = content_key("attribute_accuracy", {**about, "pixels": list(photos)})
    folder = Path(one.config.paths.results) / "verify" / f"{file_name(one.name)}-{dataset}-{key[:8]}"
    rows = [
        (part.name, truth, answer, int(each.confusion[row, column]))
        for each, part in zip(found, task.attributes, strict=True)
        for row, truth in enumerate(one_class.name for one_class in part.classes)
        for column, answer in enumerate(one_class.name for one_class in part.classes)
    ]
    confusion = pd.DataFrame(rows, columns=["attribute", "label", "answer", "photos"])
    write_text(folder / "confusion.csv", frame_csv(confusion))
    write_text(folder / "attributes.json", json.dumps(about, indent=1) + "\n")
    return folder


def _show(one: OneAttributeModel, task: AttributeTask, dataset: str, found: Sequence[AttributeAccuracy]) -> Table:
    title = f"{one.name} on {dataset}, asked {task.name}: balanced accuracy"
    table = Table(title=plain(title), box=None, title_justify="left", pad_edge=False)
    for column in ("attribute", "value", "95 % interval", "accuracy", "chance", "photos", "people"):
        table.add_column(column, justify="left" if column == "attribute" else "right")
    for each in found:
        interval = f"{each.low:.4f} to {each.high:.4f}" if np.isfinite(each.low) else ""
        chance = f"{1 / len(each.classes):.4f}"
        table.add_row(
            plain(each.name),
            f"{each.value:.4f}",
            interval,
            f"{each.accuracy:.4f}",
            chance,
            str(each.photos),
            str(each.people),
        )
    return table


def _confused(found: Sequence[AttributeAccuracy], task: AttributeTask) -> list[str]:
    """For each attribute the share of every class that is recognised, and what the rest is mostly taken for."""
    lines = []
    for each, part in zip(found, task.attributes, strict=True):
        said, names = [], [one.name for one in part.classes]
        for row, name in enumerate(names):
            if not (total := int(each.confusion[row].sum())):
                said.append(f"{name} on no photo")
                continue
            wrong = each.confusion[row].copy()
            wrong[row] = 0
            rest = f", else mostly {names[int(wrong.argmax())]}" if wrong.any() and len(names) > 2 else ""
            said.append(f"{name} {100 * int(each.confusion[row, row]) / total:.1f} % of {total}{rest}")
        lines.append(f"{each.name}: {'; '.join(said)}")
    return lines
