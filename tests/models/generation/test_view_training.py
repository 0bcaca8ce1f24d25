"""The training of the embedded generator at a tiny size: it learns, and goes on after a stop to the same bytes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from cloakbench.bench.core.random_streams import generator
from cloakbench.datasets.base import FaceSet
from cloakbench.models.generation.view_command import run_generator
from cloakbench.models.generation.view_job import GeneratorJob, train_generator
from cloakbench.models.generation.view_training import draw_pairs
from cloakbench.models.training import resumable

TESTS = Path(__file__).resolve().parents[1]
SETTINGS: dict[str, Any] = {
    "seed": 5,
    "network": {
        "_target_": "cloakbench.models.generation.view_network.ViewNetwork",
        "_partial_": True,
        "code_size": 16,
        "widths": [4, 6, 8, 8],
        "reach": 0.4,
        "gain": 1.5,
    },
    "reader": {
        "_target_": "cloakbench.models.generation.view_network.CodeReader",
        "_partial_": True,
        "code_size": 16,
        "widths": [4, 6, 8, 8],
    },
    "faces": {"_target_": "faces.toy_faces", "identities": 12, "images_per_identity": 4, "seed": 1},
    "training": {
        "_target_": "cloakbench.models.generation.view_recipe.ViewRecipe",
        "steps": 30,
        "batch_size": 4,
        "learning_rate": 0.003,
        "warmup_share": 0.1,
        "identity": 0.1,
        "divergence": 0.001,
        "noise_255": 4,
    },
    "critic": {
        "network": {
            "_target_": "cloakbench.models.backbones.iresnet.IResNet",
            "_partial_": True,
            "blocks": [1, 1, 1, 1],
            "channels": [4, 4, 8, 8],
            "strides": [1, 2, 2, 2],
            "stem": [7, 4],
            "neck": "gdc",
            "embedding_size": 16,
        },
        "inputs": {"_target_": "cloakbench.models.base.InputSpec"},
        "head": {"_target_": "cloakbench.models.heads.CosFace", "_partial_": True, "scale": 16.0, "margin": 0.2},
        "training": {
            "_target_": "cloakbench.models.training.recipe.Recipe",
            "epochs": 2,
            "batch_size": 16,
            "learning_rate": 0.1,
            "warmup_share": 0.1,
            "floor_share": 0.002,
            "momentum": 0.9,
            "weight_decay": 0.0005,
            "ramp_share": 0.3,
            "flip": False,
            "adversarial_share": 0.0,
            "adversarial_epsilon_255": 4,
            "adversarial_from": 0.5,
        },
    },
}
WEIGHTS = "weights/toy.safetensors"


class Killed(BaseException):
    """Stands for a kill: nothing may catch it."""


def quiet(step: int, steps: int, loss: float) -> None:
    """No progress bar."""


def stop_at(stop: int) -> Callable[[int, int, float], None]:
    def kill(step: int, steps: int, loss: float) -> None:
        if step == stop:
            raise Killed

    return kill


def job(folder: Path, **changes: Any) -> GeneratorJob:
    settings = copy.deepcopy(SETTINGS) | changes
    return GeneratorJob("toy", settings, folder / "weights", folder / "checkpoints", "cpu")


@pytest.fixture(autouse=True)
def toy_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets Hydra find ``faces.toy_faces``."""
    monkeypatch.syspath_prepend(str(TESTS))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("unbroken")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TESTS))
        train_generator(job(folder), quiet, quiet)
    return (folder / WEIGHTS).read_bytes()


@pytest.mark.slow
def test_a_training_stopped_anywhere_ends_with_the_bytes_of_an_unbroken_one(
    tmp_path: Path, unbroken: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resumable, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(resumable, "REPORT_EVERY", 1)
    stops = [(stop_at(4), quiet), (quiet, stop_at(2)), (quiet, stop_at(3)), (quiet, stop_at(29))]
    for critic, own in stops:
        with pytest.raises(Killed):
            train_generator(job(tmp_path), critic, own)
    assert torch.load(tmp_path / "checkpoints" / "toy.pt", weights_only=True)["step"] == 28
    again: list[int] = []
    train_generator(job(tmp_path), lambda step, steps, loss: again.append(step), quiet)
    assert again == []  # the critic is trained once
    assert (tmp_path / WEIGHTS).read_bytes() == unbroken
    assert list((tmp_path / "checkpoints").iterdir()) == []


@pytest.mark.slow
def test_another_seed_gives_other_weights_and_the_global_random_state_is_left_alone(
    tmp_path: Path, unbroken: bytes
) -> None:
    before = torch.random.get_rng_state()
    train_generator(job(tmp_path, seed=6), quiet, quiet)
    assert (tmp_path / WEIGHTS).read_bytes() != unbroken
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.slow
def test_training_learns_what_lies_between_two_photos(tmp_path: Path) -> None:
    losses: list[float] = []
    rendered = {
        "_target_": "cloakbench.datasets.synthetic.world.training_faces",
        "seed": 30,
        "identities": 8,
        "images_per_identity": 6,
    }
    training = SETTINGS["training"] | {"steps": 100, "batch_size": 8, "identity": 0.0, "learning_rate": 0.005}
    tiny = job(tmp_path, faces=rendered, training=training)
    train_generator(tiny, quiet, lambda step, steps, loss: losses.append(loss))
    assert mean(losses[-3:]) < 0.92 * mean(losses[:3])  # each of one batch


def test_what_is_trained_already_is_not_trained_again(tmp_path: Path) -> None:
    config = OmegaConf.create(
        {
            "name": "toy",
            "threads": torch.get_num_threads(),
            "device": "cpu",
            "output": str(tmp_path / "weights"),
            "checkpoints": str(tmp_path / "checkpoints"),
            "recipe": SETTINGS,
        }
    )
    run_generator(config)
    before = (tmp_path / WEIGHTS).stat().st_mtime_ns
    run_generator(config)
    assert (tmp_path / WEIGHTS).stat().st_mtime_ns == before
    assert not job(tmp_path, seed=6).is_done()


def test_pairs_are_two_photos_of_one_person(monkeypatch: pytest.MonkeyPatch) -> None:
    people = [0, 0, 0, 1, 1, 2, 2, 2, 2]
    images = torch.arange(len(people), dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 112, 112)
    faces = FaceSet(images, tuple(f"{row}" for row in range(len(people))), tuple(f"p{person}" for person in people))
    pairs = draw_pairs(faces, faces.labels(), 200, 16, generator("pairs"))
    one, other = (part[:, 0, 0, 0].long() for part in (pairs.photos, pairs.others))
    assert bool((one != other).all())
    labels = faces.labels()
    assert torch.equal(labels[one], pairs.people) and torch.equal(labels[other], pairs.people)
    assert set(one.tolist()) == set(other.tolist()) == set(range(len(people)))


def test_people_with_one_photo_are_refused(tmp_path: Path) -> None:
    faces = SETTINGS["faces"] | {"images_per_identity": 1, "identities": 20}
    with pytest.raises(ValueError, match="two photos or more"):
        train_generator(job(tmp_path, faces=faces), quiet, quiet)
