"""One attribute classifier of the zoo from its settings to its two files, as `cloakbench.models.training.member`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from hydra.utils import instantiate

from cloakbench.bench.core.random_streams import stream_seed
from cloakbench.datasets.attribute_task import AttributeTask
from cloakbench.datasets.base import FaceSet
from cloakbench.models.attribute_surrogate import AttributeSurrogate
from cloakbench.models.attribute_zoo.balance import BalancedCrossEntropy, balanced_accuracies, classes_in_batches
from cloakbench.models.attribute_zoo.network import attribute_network
from cloakbench.models.attributes import AttributeCard, AttributeModel, AttributeOutput
from cloakbench.models.training.made_files import write_made
from cloakbench.models.training.member import MemberJob, describe, rounded, trained_with, without_runtime
from cloakbench.models.training.resumable import Report
from cloakbench.models.training.trainer import Trainer

BATCH_SIZE = 100
"""Photos that share a forward pass when accuracy is measured."""


@dataclass(frozen=True)
class AttributeMemberJob(MemberJob):
    """An attribute classifier.

    Attributes:
        settings: its resolved recipe: model, task, faces, label_smoothing, training, seed; and ``judged_by``, further
            tasks, by name, whose accuracy stands on the card.
        evaluation: faces of people that it is not trained on, as a Hydra node.
    """

    def recipe(self) -> dict[str, Any]:
        """Everything that decides the weights and the accuracy of the task; further tasks change neither."""
        model = self.settings["model"]
        return {
            **{key: model[key] for key in ("attribute_models", "backbone", "embedding_size", "inputs")},
            **{key: self.settings[key] for key in ("task", "label_smoothing", "training", "seed")},
            "faces": without_runtime(self.settings["faces"]),
            "evaluation": without_runtime(self.evaluation),
        }

    def train(self, report: Report) -> dict[str, Any]:
        return train_attribute_member(self, report)

    def faces_drawn(self) -> tuple[dict[str, Any], ...]:
        return (self.settings["faces"], self.evaluation)

    @staticmethod
    def accuracy(card: Mapping[str, Any]) -> tuple[str, float]:
        return "mean balanced accuracy", sum(card["clean"].values()) / len(card["clean"])


def train_attribute_member(job: AttributeMemberJob, report: Report) -> dict[str, Any]:
    """Trains (or continues) one member, writes ``<name>.safetensors`` and ``<name>.json``, returns the card.

    Streams and rounding are those of `cloakbench.models.training.member.train_member`. Balanced accuracy is measured on
    people who were not trained on.
    """
    torch.set_num_threads(job.threads)
    device = torch.device(job.device)
    settings, seed = job.settings, job.settings["seed"]
    model = settings["model"]
    task = instantiate(settings["task"], _convert_="all")
    faces, unseen = instantiate(settings["faces"]), instantiate(job.evaluation)
    known = task.labels(faces)
    if known.unlabelled:
        faces = faces.select(known.rows)
    labels = torch.stack(list(known.classes.values()), dim=1)
    inputs = instantiate(model["inputs"], _convert_="all")
    classes = {one.name: tuple(part.name for part in one.classes) for one in task.attributes}
    widths = {name: len(names) for name, names in classes.items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, "initial weights"))
        network = attribute_network(
            model["attribute_models"],
            instantiate(model["backbone"], _convert_="all"),
            widths,
            model["embedding_size"],
            inputs.size,
        )
    recipe = instantiate(settings["training"])
    trainer = Trainer(
        network=network,
        head=BalancedCrossEntropy(labels, list(widths.values()), settings["label_smoothing"]),
        inputs=inputs,
        faces=faces,
        recipe=recipe,
        seed=seed,
        recipe_digest=job.digest(),
        checkpoint_path=job.checkpoints / f"{job.name}.pt",
        device=device,
        labels=labels,
    )
    trainer.run(report)

    data, sha256 = rounded(network)
    training_set = f"{len(faces)} rendered faces of {len(faces.identities())} identities"
    judged = AttributeModel(
        network,
        inputs,
        tuple(AttributeOutput(name, "logits", names) for name, names in classes.items()),
        AttributeCard(job.name, model["family"], "", training_set, sha256),
    )
    further = instantiate(settings["judged_by"], _convert_="all")
    card = {
        "name": job.name,
        "backbone": describe(model["backbone"]),
        "classes": classes,
        "training_set": training_set,
        "sha256": sha256,
        "clean": task_accuracy(judged, task, unseen, device),
        "tasks": {name: task_accuracy(judged, one, unseen, device) for name, one in further.items()},
        "unseen": f"{len(unseen)} rendered faces of {len(unseen.identities())} identities",
        **trained_with(job, trainer),
    }
    write_made(job.output, data, card)
    trainer.checkpoint_path.unlink(missing_ok=True)
    return card


def task_accuracy(model: AttributeModel, task: AttributeTask, faces: FaceSet, device: torch.device) -> dict[str, float]:
    """Balanced accuracy of each attribute of a task on the faces that have all its labels."""
    truth = task.labels(faces)
    surrogate = AttributeSurrogate(model, task).to(device)
    found = classes_in_batches(surrogate, faces.images[truth.rows], BATCH_SIZE, device)
    return {name: round(value, 5) for name, value in balanced_accuracies(found, truth.classes).items()}
