"""One attribute classifier of the zoo from its settings to its two files, as `cloakbench.models.training.member`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from hydra.utils import instantiate
from torch import nn

from cloakbench.bench.core.random_streams import stream_seed
from cloakbench.datasets.attribute_task import AttributeTask
from cloakbench.datasets.base import FaceSet
from cloakbench.models.attribute_surrogate import AttributeSurrogate
from cloakbench.models.attribute_zoo.balance import BalancedCrossEntropy, balanced_accuracies, classes_in_batches
from cloakbench.models.attribute_zoo.network import attribute_network
from cloakbench.models.attributes import AttributeCard, AttributeModel, AttributeOutput
from cloakbench.models.training.made_files import recipe_digest, write_made
from cloakbench.models.training.member import MemberJob, describe, rounded, trained_with, without_runtime
from cloakbench.models.training.resumable import Report
from cloakbench.models.training.trainer import Trainer
from cloakbench.models.zoo import read_card, read_weights

BATCH_SIZE = 100
"""Photos that share a forward pass when accuracy is measured."""


@dataclass(frozen=True)
class AttributeMemberJob(MemberJob):
    """An attribute classifier.

    Attributes:
        settings: its resolved recipe: model, task, faces, label_smoothing, training, seed; and ``judged_by``, further
            tasks, by name, whose accuracy stands on the card, measured on the faces of ``judged_on``.
        evaluation: faces of people that it is not trained on, as a Hydra node. Tasks and recipes were chosen by what
            networks told about them, so that further tasks are judged by other people.
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

    def judging(self) -> str:
        """Digest of the further tasks and of the people who judge them."""
        return recipe_digest(
            {"tasks": self.settings["judged_by"], "faces": without_runtime(self.settings["judged_on"])}
        )

    def is_done(self) -> bool:
        return super().is_done() and read_card(self.name, self.output).get("judging_digest") == self.judging()

    def train(self, report: Report) -> dict[str, Any]:
        if super().is_done():  # weights of this recipe are there, and others judge them now
            return judge_again(self)
        return train_attribute_member(self, report)

    def faces_drawn(self) -> tuple[dict[str, Any], ...]:
        return (self.settings["faces"], self.evaluation, self.settings["judged_on"])

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
    training_set = people_of(faces)
    judged = _answering(job, network, classes, sha256)
    card = {
        "name": job.name,
        "backbone": describe(model["backbone"]),
        "classes": classes,
        "training_set": training_set,
        "sha256": sha256,
        "clean": task_accuracy(judged, task, unseen, device),
        "unseen": people_of(unseen),
        **judgement(job, judged),
        **trained_with(job, trainer),
    }
    write_made(job.output, data, card)
    trainer.checkpoint_path.unlink(missing_ok=True)
    return card


def judge_again(job: AttributeMemberJob) -> dict[str, Any]:
    """Measures a member that is trained already on the people who judge it now, writes and returns its card."""
    card = read_card(job.name, job.output)
    model, state = job.settings["model"], read_weights(job.name, card["sha256"], job.output)
    widths = {name: len(names) for name, names in card["classes"].items()}
    inputs = instantiate(model["inputs"], _convert_="all")
    backbone = instantiate(model["backbone"], _convert_="all")
    with torch.device("meta"):
        network = attribute_network(model["attribute_models"], backbone, widths, model["embedding_size"], inputs.size)
    network.load_state_dict(state, assign=True)
    card |= judgement(job, _answering(job, network, card["classes"], card["sha256"]))
    write_made(job.output, (job.output / f"{job.name}.safetensors").read_bytes(), card)
    return card


def judgement(job: AttributeMemberJob, model: AttributeModel) -> dict[str, Any]:
    """What a card says of the further tasks: accuracy, on whom, and all that decides both."""
    torch.set_num_threads(job.threads)
    faces, further = instantiate(job.settings["judged_on"]), instantiate(job.settings["judged_by"], _convert_="all")
    accuracy = {name: task_accuracy(model, task, faces, torch.device(job.device)) for name, task in further.items()}
    return {
        "tasks": accuracy,
        "judged_on": people_of(faces),
        "judges": without_runtime(job.settings["judged_on"]),
        "judging_digest": job.judging(),
    }


def people_of(faces: FaceSet) -> str:
    """How many photos of how many people."""
    return f"{len(faces)} rendered faces of {len(faces.identities())} identities"


def _answering(
    job: AttributeMemberJob, network: nn.Module, classes: Mapping[str, Sequence[str]], sha256: str
) -> AttributeModel:
    """The network as something that is asked about attributes."""
    model = job.settings["model"]
    outputs = tuple(AttributeOutput(name, "logits", tuple(names)) for name, names in classes.items())
    inputs = instantiate(model["inputs"], _convert_="all")
    return AttributeModel(network.eval(), inputs, outputs, AttributeCard(job.name, model["family"], "", "", sha256))


def task_accuracy(model: AttributeModel, task: AttributeTask, faces: FaceSet, device: torch.device) -> dict[str, float]:
    """Balanced accuracy of each attribute of a task on the faces that have all its labels."""
    truth = task.labels(faces)
    surrogate = AttributeSurrogate(model, task).to(device)
    found = classes_in_batches(surrogate, faces.images[truth.rows], BATCH_SIZE, device)
    return {name: round(value, 5) for name, value in balanced_accuracies(found, truth.classes).items()}
