"""One member of the zoo from its settings to its two files: train, round to half precision, measure, write."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from safetensors.torch import save
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import stream_seed
from cloakbench.models.base import ModelCard, Recogniser
from cloakbench.models.training.evaluate import evaluate
from cloakbench.models.training.made_files import is_made, recipe_digest, write_made
from cloakbench.models.training.resumable import Report
from cloakbench.models.training.trainer import Trainer

RUNTIME_KEYS = ("cache", "workers")
"""Keys of a data set that say where and how fast faces are rendered, not which."""


def without_runtime(node: Mapping[str, Any]) -> dict[str, Any]:
    """A data set's Hydra node without the keys that cannot change a pixel."""
    return {key: value for key, value in node.items() if key not in RUNTIME_KEYS}


@dataclass(frozen=True)
class MemberJob:
    """What a training process needs; plain values, so that it can be sent to one.

    Attributes:
        name: of the member and its files.
        settings: its resolved recipe: model, head, faces, training, seed.
        evaluation: the data set clean accuracy is measured on, as a Hydra node.
        output: folder for weights and card.
        checkpoints: folder for unfinished work.
        device: ``cpu``, ``cuda``, ``cuda:1``.
        threads: CPU threads of this process.
    """

    name: str
    settings: dict[str, Any]
    evaluation: dict[str, Any]
    output: Path
    checkpoints: Path
    device: str
    threads: int

    def recipe(self) -> dict[str, Any]:
        """Everything that decides the weights and their measured accuracy, and nothing else."""
        return {
            "network": self.settings["model"]["network"],
            "inputs": self.settings["model"]["inputs"],
            **{key: self.settings[key] for key in ("head", "training", "seed")},
            "faces": without_runtime(self.settings["faces"]),
            "evaluation": without_runtime(self.evaluation),
            "world": instantiate(self.evaluation).version,
        }

    def digest(self) -> str:
        """sha256 of the recipe."""
        return recipe_digest(self.recipe())

    def is_done(self) -> bool:
        """Whether weights of exactly these settings lie in ``output``."""
        return is_made(self.output, self.name, self.digest())

    def train(self, report: Report) -> dict[str, Any]:
        """Train (or continue) it, write its files, and give its card."""
        return train_member(self, report)

    def faces_drawn(self) -> tuple[dict[str, Any], ...]:
        """Hydra nodes of the faces it trains on, which take ``progress``."""
        return (self.settings["faces"],)

    @staticmethod
    def accuracy(card: Mapping[str, Any]) -> tuple[str, float]:
        """The number that a trained member is compared by, from its card, and what it is called."""
        return "Top-1", float(card["clean"]["top1"])


def half_state(network: nn.Module) -> dict[str, Tensor]:
    """The state dict in half precision, counters as they are.

    Raises:
        OverflowError: a value does not fit.
    """
    state = {}
    for key, value in network.state_dict().items():
        half = value.detach().cpu().contiguous()
        if half.is_floating_point():
            half = half.half()
            if not bool(torch.isfinite(half).all()):
                raise OverflowError(f"{key} does not fit half precision")
        state[key] = half
    return state


def rounded(network: nn.Module) -> tuple[bytes, str]:
    """The network's weights in half precision as a file, and its digest; the network goes on with the rounded ones.

    Raises:
        OverflowError: a value does not fit.
    """
    state = half_state(network)
    network.load_state_dict({key: value.to(torch.float32) for key, value in state.items()})
    data = save(state)
    return data, hashlib.sha256(data).hexdigest()


def short_target(node: Mapping[str, Any]) -> str:
    """Class name of a Hydra node."""
    return str(node["_target_"]).rsplit(".", 1)[-1]


def describe(node: Mapping[str, Any]) -> str:
    """``Class(key=value, ...)`` of a Hydra node, without Hydra's own keys."""
    options = ", ".join(f"{key}={value}" for key, value in node.items() if not key.startswith("_"))
    return f"{short_target(node)}({options})"


def train_member(job: MemberJob, report: Report) -> dict[str, Any]:
    """Trains (or continues) one member, writes ``<name>.safetensors`` and ``<name>.json``, returns the card.

    Initial weights come from a stream of the seed, inside a fork of the global random state: the caller's state is
    untouched. Accuracy is measured on the rounded weights, the ones that are written.
    """
    torch.set_num_threads(job.threads)
    device = torch.device(job.device)
    settings, seed = job.settings, job.settings["seed"]
    faces = instantiate(settings["faces"])
    inputs = instantiate(settings["model"]["inputs"], _convert_="all")
    embedding_size = settings["model"]["network"]["embedding_size"]
    classes = len(faces.identities())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, "initial weights"))
        network = instantiate(settings["model"]["network"], _convert_="all")()
        head = instantiate(settings["head"])(classes=classes, embedding_size=embedding_size)
    checkpoint_path = job.checkpoints / f"{job.name}.pt"
    recipe = instantiate(settings["training"])
    trainer = Trainer(
        network=network,
        head=head,
        inputs=inputs,
        faces=faces,
        recipe=recipe,
        seed=seed,
        recipe_digest=job.digest(),
        checkpoint_path=checkpoint_path,
        device=device,
    )
    trainer.run(report)

    data, sha256 = rounded(network)
    head_name = describe(settings["head"])
    training_set = f"{len(faces)} rendered faces of {classes} identities"
    label = ModelCard(
        job.name, settings["model"]["family"], "", head_name, training_set, embedding_size, weights_sha256=sha256
    )
    world = instantiate(job.evaluation)
    accuracy = evaluate(Recogniser(network, inputs, label), world.faces("probe"), world.faces("distractor"), device)
    card = {
        "name": job.name,
        "backbone": describe(settings["model"]["network"]),
        "head": head_name,
        "training_set": training_set,
        "embedding_size": embedding_size,
        "robust": recipe.adversarial_share > 0,
        "sha256": sha256,
        "clean": {key: round(value, 5) for key, value in asdict(accuracy).items()},
        **trained_with(job, trainer),
    }
    write_made(job.output, data, card)
    checkpoint_path.unlink(missing_ok=True)
    return card


def trained_with(job: MemberJob, trainer: Trainer) -> dict[str, Any]:
    """The end of every card: how large the network is, what its training took, and by which recipe it was made."""
    return {
        "parameters": sum(parameter.numel() for parameter in trainer.network.parameters()),
        "images_seen": trainer.images_seen,
        "core_seconds": round(trainer.core_seconds, 1),
        "device": job.device,
        "torch": torch.__version__,
        "recipe_digest": job.digest(),
        "recipe": job.recipe(),
    }
