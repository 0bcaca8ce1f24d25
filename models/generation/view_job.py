"""The embedded generator from its settings to its two files: train a critic, train the generator, round, write."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from safetensors.torch import save

from cloakbench.bench.core.random_streams import layers_draw_from
from cloakbench.datasets.base import FaceSet
from cloakbench.models.base import ModelCard, Recogniser
from cloakbench.models.frozen.network import freeze
from cloakbench.models.generation.view_training import Critic, ViewTraining
from cloakbench.models.training.made_files import is_made, recipe_digest, write_made
from cloakbench.models.training.member import describe, half_state, without_runtime
from cloakbench.models.training.resumable import Report
from cloakbench.models.training.trainer import Trainer


@dataclass(frozen=True)
class GeneratorJob:
    """What a training needs.

    Attributes:
        name: of the generator and its files.
        settings: its resolved recipe: network, reader, critic, faces, training, seed.
        output: folder for weights and card.
        checkpoints: folder for unfinished work.
        device: ``cpu``, ``cuda``, ``cuda:1``.
    """

    name: str
    settings: Mapping[str, Any]
    output: Path
    checkpoints: Path
    device: str

    def recipe(self) -> dict[str, Any]:
        """Everything that decides the weights, and nothing else."""
        return {**self.settings, "faces": without_runtime(self.settings["faces"])}

    def digest(self) -> str:
        """sha256 of the recipe."""
        return recipe_digest(self.recipe())

    def is_done(self) -> bool:
        """Whether weights of exactly these settings lie in ``output``."""
        return is_made(self.output, self.name, self.digest())

    def critic_digest(self) -> str:
        """sha256 of what decides the critic, which another training of the generator need not train again."""
        recipe = self.recipe()
        parts = {name: recipe[name] for name in ("critic", "faces", "seed")}
        return recipe_digest(parts)

    @property
    def critic_checkpoint(self) -> Path:
        """Where the critic is kept until the generator is done."""
        return self.checkpoints / f"{self.name}_critic.pt"

    @property
    def checkpoint(self) -> Path:
        """Where the unfinished generator is kept."""
        return self.checkpoints / f"{self.name}.pt"


def train_critic(job: GeneratorJob, faces: FaceSet, report: Report) -> tuple[Critic, float]:
    """Trains (or continues, or reads) the critic; with it the core seconds that it took."""
    settings, seed = job.settings["critic"], job.settings["seed"]
    inputs = instantiate(settings["inputs"], _convert_="all")
    classes, size = len(faces.identities()), settings["network"]["embedding_size"]
    with layers_draw_from(seed, "critic"):
        network = instantiate(settings["network"], _convert_="all")()
        head = instantiate(settings["head"])(classes=classes, embedding_size=size)
    device = torch.device(job.device)
    training = Trainer(
        network=network,
        head=head,
        inputs=inputs,
        faces=faces,
        recipe=instantiate(settings["training"]),
        seed=seed,
        recipe_digest=job.critic_digest(),
        checkpoint_path=job.critic_checkpoint,
        device=device,
    )
    training.run(report)
    card = ModelCard(f"{job.name}_critic", "", "", describe(settings["head"]), "", size, weights_sha256="")
    return Critic(Recogniser(freeze(network), inputs, card), head.weight.detach()), training.core_seconds


def train_generator(job: GeneratorJob, report_critic: Report, report: Report) -> dict[str, Any]:
    """Trains (or continues) the generator, writes ``<name>.safetensors`` and ``<name>.json``, returns the card.

    Initial weights come from a stream of the seed; the caller's random state is untouched.
    """
    settings, seed = job.settings, job.settings["seed"]
    faces = instantiate(settings["faces"])
    critic, critic_seconds = train_critic(job, faces, report_critic)
    with layers_draw_from(seed, "generator"):
        network = instantiate(settings["network"], _convert_="all")()
        reader = instantiate(settings["reader"], _convert_="all")()
    training = ViewTraining(
        network=network,
        reader=reader,
        critic=critic,
        faces=faces,
        recipe=instantiate(settings["training"]),
        seed=seed,
        recipe_digest=job.digest(),
        checkpoint_path=job.checkpoint,
        device=torch.device(job.device),
    )
    training.run(report)
    data = save(half_state(network))
    card = {
        "name": job.name,
        "network": describe(settings["network"]),
        "training_set": f"{len(faces)} rendered faces of {len(faces.identities())} identities",
        "sha256": hashlib.sha256(data).hexdigest(),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "steps": training.step,
        "core_seconds": round(critic_seconds + training.core_seconds, 1),
        "device": job.device,
        "torch": torch.__version__,
        "recipe_digest": job.digest(),
        "recipe": job.recipe(),
    }
    write_made(job.output, data, card)
    for path in (job.checkpoint, job.critic_checkpoint):
        path.unlink(missing_ok=True)
    return card
