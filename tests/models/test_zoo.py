"""Training a member, stopping and continuing it, and loading what it wrote."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from omegaconf import OmegaConf

from cloakbench.bench.core.random_streams import generator
from cloakbench.datasets.base import FaceSet
from cloakbench.models.base import InputSpec
from cloakbench.models.heads import CosFace
from cloakbench.models.training import checkpoint, resumable
from cloakbench.models.training.command import ZooError, jobs_of, run_zoo
from cloakbench.models.training.member import MemberJob, half_state, train_member
from cloakbench.models.training.trainer import one_step_adversaries
from cloakbench.models.weight_file import WeightError
from cloakbench.models.zoo import load_embedded, read_weights

TESTS = Path(__file__).resolve().parent
NETWORK: dict[str, Any] = {
    "_target_": "cloakbench.models.backbones.iresnet.IResNet",
    "_partial_": True,
    "blocks": [1, 1, 1, 1],
    "channels": [4, 4, 8, 8],
    "strides": [1, 2, 2, 2],
    "stem": [7, 4],
    "neck": "gdc",
    "embedding_size": 16,
}
SETTINGS: dict[str, Any] = {
    "seed": 5,
    "model": {
        "family": "ir",
        "network": NETWORK,
        "inputs": {"_target_": "cloakbench.models.base.InputSpec"},
    },
    "faces": {"_target_": "faces.toy_faces", "identities": 16, "images_per_identity": 8, "seed": 1},
    "head": {"_target_": "cloakbench.models.heads.CosFace", "_partial_": True, "scale": 16.0, "margin": 0.2},
    "training": {
        "_target_": "cloakbench.models.training.recipe.Recipe",
        "epochs": 5,
        "batch_size": 16,
        "learning_rate": 0.1,
        "warmup_share": 0.1,
        "floor_share": 0.002,
        "momentum": 0.9,
        "weight_decay": 0.0005,
        "ramp_share": 0.3,
        "flip": False,
        "adversarial_share": 0.25,
        "adversarial_epsilon_255": 4,
        "adversarial_from": 0.5,
    },
}
EVALUATION = {"_target_": "faces.ToyWorld", "seed": 77}


class Killed(BaseException):
    """Stands for a kill: nothing may catch it."""


def job(folder: Path, **changes: Any) -> MemberJob:
    settings = copy.deepcopy(SETTINGS)
    settings.update(changes)
    return MemberJob("toy", settings, EVALUATION, folder / "weights", folder / "checkpoints", "cpu", 1)


def quiet(step: int, steps: int, loss: float) -> None:
    """No progress bar."""


@pytest.fixture(autouse=True)
def toy_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets Hydra find ``faces.toy_faces``."""
    monkeypatch.syspath_prepend(str(TESTS))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo")
    sys.path.insert(0, str(TESTS))
    train_member(job(folder), quiet)
    return folder


def load(folder: Path, name: str = "toy"):
    return load_embedded(
        name=name,
        family="ir",
        stands_for="IR-50",
        network=instantiate(NETWORK, _convert_="all"),
        inputs=InputSpec(),
        folder=folder / "weights",
    )


def test_training_learns(tmp_path: Path) -> None:
    losses: list[float] = []
    card = train_member(job(tmp_path, seed=6), lambda step, steps, loss: losses.append(loss))
    assert losses[-1] < 0.5 * losses[0]
    assert card["clean"]["top1"] > 0.9
    assert card["images_seen"] == 5 * 8 * 16


def test_same_settings_same_bytes_and_other_seed_other_bytes(trained: Path, tmp_path: Path) -> None:
    train_member(job(tmp_path / "again"), quiet)
    train_member(job(tmp_path / "other", seed=6), quiet)
    first = (trained / "weights" / "toy.safetensors").read_bytes()
    assert (tmp_path / "again" / "weights" / "toy.safetensors").read_bytes() == first
    assert (tmp_path / "other" / "weights" / "toy.safetensors").read_bytes() != first


@pytest.mark.slow
def test_a_stopped_run_ends_with_the_bytes_of_an_unbroken_one(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resumable, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(resumable, "REPORT_EVERY", 1)
    for stop in (3, 8, 27):  # within an epoch, at its end, among the adversaries

        def kill(step: int, steps: int, loss: float, stop: int = stop) -> None:
            if step == stop:
                raise Killed

        with pytest.raises(Killed):
            train_member(job(tmp_path), kill)
        saved = torch.load(tmp_path / "checkpoints" / "toy.pt", weights_only=True)
        assert saved["step"] == stop - 1
    card = train_member(job(tmp_path), quiet)
    unbroken = trained / "weights" / "toy.safetensors"
    assert (tmp_path / "weights" / "toy.safetensors").read_bytes() == unbroken.read_bytes()
    assert card["clean"] == json.loads(unbroken.with_suffix(".json").read_text())["clean"]
    assert not (tmp_path / "checkpoints" / "toy.pt").exists()


def test_a_checkpoint_of_other_settings_or_a_broken_one_is_not_continued(tmp_path: Path) -> None:
    path, cpu = tmp_path / "a.pt", torch.device("cpu")
    checkpoint.save(path, checkpoint.Progress("one", 3, 1.0, {}))
    found = checkpoint.load(path, "one", cpu)
    assert found is not None
    assert found.step == 3
    assert checkpoint.load(path, "two", cpu) is None
    path.write_bytes(path.read_bytes()[:100])
    assert checkpoint.load(path, "one", cpu) is None
    path.write_bytes(b"")
    assert checkpoint.load(path, "one", cpu) is None


def test_the_global_random_state_is_left_alone(tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    train_member(job(tmp_path), quiet)
    assert torch.equal(before, torch.random.get_rng_state())


def test_loaded_member_is_frozen_and_as_measured(trained: Path) -> None:
    model = load(trained)
    card = json.loads((trained / "weights" / "toy.json").read_text())
    assert model.card.clean_top1 == card["clean"]["top1"]
    assert model.card.weights_sha256 == card["sha256"]
    assert model.card.robust
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not model.train().network.training
    images = torch.rand(2, 3, 112, 112, generator=generator("images")).requires_grad_()
    embeddings = model.embed(images)
    assert embeddings.dtype == torch.float32
    assert torch.allclose(embeddings.norm(dim=1), torch.ones(2), atol=1e-6)
    (slope,) = torch.autograd.grad(embeddings.sum(), images)
    assert float(slope.abs().sum()) > 0


def test_half_precision_round_trip(trained: Path) -> None:
    card = json.loads((trained / "weights" / "toy.json").read_text())
    state = read_weights("toy", card["sha256"], trained / "weights")
    network = instantiate(NETWORK, _convert_="all")()
    network.load_state_dict(state)
    for key, value in half_state(network).items():
        assert torch.equal(value.to(state[key].dtype), state[key])
        assert value.dtype in (torch.float16, torch.int64)


def test_values_beyond_half_precision_are_refused() -> None:
    layer = torch.nn.Linear(2, 2)
    layer.weight.data.fill_(1e6)
    with pytest.raises(OverflowError, match="weight does not fit half precision"):
        half_state(layer)


def test_bad_weights_are_named(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightError, match="run `make zoo`"):
        load(trained, "nobody")
    place = tmp_path / "weights"
    place.mkdir()
    card = (trained / "weights" / "toy.json").read_text()
    data = (trained / "weights" / "toy.safetensors").read_bytes()
    (place / "toy.json").write_text(card)
    with pytest.raises(WeightError, match="has no weights"):
        load(tmp_path)
    (place / "toy.safetensors").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(WeightError, match="has sha256"):
        load(tmp_path)
    (place / "toy.safetensors").write_bytes(data)
    with pytest.raises(WeightError, match="do not fit"):
        load_embedded(
            name="toy",
            family="ir",
            stands_for="",
            network=instantiate(NETWORK | {"embedding_size": 8}, _convert_="all"),
            inputs=InputSpec(),
            folder=place,
        )
    (place / "toy.json").write_text("no json")
    with pytest.raises(WeightError, match="not a model card"):
        load(tmp_path)


def test_adversaries_stay_within_budget_and_raise_the_loss(trained: Path) -> None:
    model = load(trained)
    images = torch.rand(8, 3, 112, 112, generator=generator("a"))
    labels = torch.arange(8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = CosFace(8, 16, scale=16.0, margin=0.2)
    start = torch.empty(8, 3, 112, 112).uniform_(-1, 1, generator=generator("b"))
    network = model.network
    moved = one_step_adversaries(network, head, InputSpec(), images, labels=labels, epsilon=4 / 255, start=start)
    assert float((moved - images).abs().max()) <= 4 / 255 + 1e-6
    assert 0 <= float(moved.min()) <= float(moved.max()) <= 1
    network.eval()
    assert head(model.embed(moved), labels) > head(model.embed(images), labels)


def test_what_counts_as_done(trained: Path) -> None:
    finished = job(trained)
    assert finished.is_done()
    assert not replace(finished, settings=finished.settings | {"seed": 6}).is_done()
    cached = finished.settings["faces"] | {"cache": "elsewhere"}
    assert replace(finished, settings=finished.settings | {"faces": cached}).is_done()
    assert not replace(finished, output=trained / "empty").is_done()


def test_labels_follow_first_appearance() -> None:
    faces = FaceSet(torch.zeros(4, 3, 2, 2, dtype=torch.uint8), ("1", "2", "3", "4"), ("b", "a", "b", "c"))
    assert faces.labels().tolist() == [0, 1, 0, 2]


def zoo_config(folder: Path, **members: Any):
    return OmegaConf.create(
        {
            "members": members,
            "evaluation": EVALUATION,
            "only": None,
            "workers": 2,
            "threads": 1,
            "device": "cpu",
            "output": str(folder / "weights"),
            "checkpoints": str(folder / "checkpoints"),
        }
    )


@pytest.mark.slow
def test_the_command_trains_in_processes_and_reports_failures(trained: Path, tmp_path: Path) -> None:
    broken = copy.deepcopy(SETTINGS)
    broken["training"]["epochs"] = 0
    config = zoo_config(tmp_path, toy=SETTINGS, broken=broken)
    with pytest.raises(ZooError, match=r"1 of 2 members could not be trained: broken .*training.epochs"):
        run_zoo(config)
    written = (tmp_path / "weights" / "toy.safetensors").read_bytes()
    assert written == (trained / "weights" / "toy.safetensors").read_bytes()
    config.only = ["toy"]
    before = (tmp_path / "weights" / "toy.json").stat().st_mtime_ns
    run_zoo(config)
    assert (tmp_path / "weights" / "toy.json").stat().st_mtime_ns == before
    config.only = ["nobody"]
    with pytest.raises(ZooError, match="no such zoo member: nobody; there are toy, broken"):
        run_zoo(config)


@pytest.mark.slow
def test_a_killed_process_continues(trained: Path, tmp_path: Path) -> None:
    """A real kill -9, at the first checkpoint."""
    code = (
        "import sys, json, pathlib; sys.path.insert(0, sys.argv[1])\n"
        "from cloakbench.models.training import resumable, member\n"
        "resumable.CHECKPOINT_SECONDS = 0.0\n"
        "folder = pathlib.Path(sys.argv[2])\n"
        "settings, evaluation = json.loads(sys.argv[3])\n"
        "job = member.MemberJob('toy', settings, evaluation, folder / 'weights', folder / 'checkpoints', 'cpu', 1)\n"
        "member.train_member(job, lambda step, steps, loss: print(step, flush=True))\n"
    )
    command = [sys.executable, "-c", code, str(TESTS), str(tmp_path), json.dumps([SETTINGS, EVALUATION])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "10"
        os.kill(process.pid, signal.SIGKILL)
    assert not (tmp_path / "weights").exists()
    card = train_member(job(tmp_path), quiet)
    assert card["images_seen"] == 5 * 8 * 16
    expected = (trained / "weights" / "toy.safetensors").read_bytes()
    assert (tmp_path / "weights" / "toy.safetensors").read_bytes() == expected


def test_the_zoo_config_is_complete_and_disjoint() -> None:
    with initialize_config_module("cloakbench.conf", version_base="1.3"):
        config = compose("zoo")
        jobs = [job for job in jobs_of(config) if "head" in job.settings]  # recognisers
    surrogates, targets = set(), set()
    for entry in jobs:
        faces = entry.settings["faces"]
        people = set(range(faces["first_identity"], faces["first_identity"] + faces["identities"]))
        is_surrogate = entry.name in ("arcface_ir", "cosface_ir", "softmax_ir", "cosface_mobilefacenet")
        (surrogates if is_surrogate else targets).update(people)
        with torch.device("meta"):
            network = instantiate(entry.settings["model"]["network"], _convert_="all")()
            assert network.eval()(torch.empty(2, 3, 112, 112)).shape == (2, 128)
        assert entry.settings["model"]["name"] == entry.name
    assert not surrogates & targets
    assert len({entry.settings["seed"] for entry in jobs}) == len(jobs) == 12
