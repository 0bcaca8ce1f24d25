"""Checkpoints over the store: paced, resumed by another process, forgotten when the work is done; and what they key."""

from __future__ import annotations

import logging
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from cloakbench.bench.core.hashing import content_key
from cloakbench.bench.engine import training
from cloakbench.bench.engine.checkpoints import ProgressLines, StoredCheckpoint
from cloakbench.bench.engine.training import stage_inputs, train_stages
from cloakbench.bench.store.store import Store
from cloakbench.methods.advcloak import AdvCloak
from cloakbench.methods.apf import APF
from cloakbench.methods.context import Kept
from cloakbench.methods.parts.gan.adversarial import MaskGame
from cloakbench.methods.parts.tiny_world import tiny_context

KEY = "c" * 32
UNIT = {"surrogates": ["one"], "auxiliary": "faces", "seed": 0, "people": ["ada"], "code": "all of it"}


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def kept(value: float) -> Kept:
    return Kept({"weights": torch.full((2,), value)}, 3, 4, 5.5)


def test_a_checkpoint_is_written_at_most_every_half_minute(tmp_path: Path) -> None:
    clock = Clock()
    checkpoint = StoredCheckpoint(Store(tmp_path), KEY, {}, clock=clock)
    written = []
    for second in range(100):
        clock.now = float(second)
        checkpoint.save(kept(second))
        stored = StoredCheckpoint(Store(tmp_path), KEY, {}).load()
        written.append(None if stored is None else int(stored.tensors["weights"][0]))
    assert sorted(set(written) - {None}) == [30, 60, 90]
    assert written.count(None) == 30


def test_another_process_finds_tensors_and_what_they_took_until_they_are_removed(tmp_path: Path) -> None:
    clock = Clock()
    checkpoint = StoredCheckpoint(Store(tmp_path), KEY, {}, clock=clock)
    assert checkpoint.load() is None
    clock.now = 31
    checkpoint.save(kept(1))
    other = StoredCheckpoint(Store(tmp_path), KEY, {})
    found = other.load()
    assert found is not None and torch.equal(found.tensors["weights"], torch.ones(2))
    assert (found.forward_images, found.backward_images, found.seconds) == (3, 4, 5.5)
    assert StoredCheckpoint(Store(tmp_path), "d" * 32, {}).load() is None
    other.remove()
    assert checkpoint.load() is None


class Killed(StoredCheckpoint):
    """The process ends right after the third checkpoint; every step is one."""

    def save(self, kept: Kept) -> None:
        self._saved_at, self.count = -1e9, getattr(self, "count", 0) + 1
        super().save(kept)
        if self.count == 3:
            raise KeyboardInterrupt


def test_a_server_that_was_killed_goes_on_from_the_store_to_equal_weights(tmp_path: Path) -> None:
    method, context = APF(8, width=4, epochs=2, batch=12), tiny_context()
    universal, server = method.stages()
    context = replace(context, trained=method.run_stage(universal, context).tensors)
    whole = method.run_stage(server, context)
    with pytest.raises(KeyboardInterrupt):
        method.run_stage(server, replace(context, checkpoint=Killed(Store(tmp_path), KEY, {})))
    steps: list[int] = []
    resumed = method.run_stage(
        server,
        replace(
            context,
            checkpoint=StoredCheckpoint(Store(tmp_path), KEY, {}),
            progress=lambda done, total: steps.append(done),
        ),
    )
    assert steps == list(range(4, 9))
    assert all(torch.equal(tensor, resumed.tensors["server"][name]) for name, tensor in whole.tensors["server"].items())


def test_the_universal_stage_has_one_key_for_all_budgets_and_people_and_the_server_one_for_each() -> None:
    def inputs(budget: float, **unit: object) -> tuple[object, object]:
        universal, server = APF(budget).stages()
        return stage_inputs(universal, {**UNIT, **unit}, []), stage_inputs(server, {**UNIT, **unit}, ["universal"])

    first, second = inputs(4), inputs(8)
    assert first[0] == second[0] and first[1] != second[1]
    assert inputs(4, people=["ben"], code="another method's") == first
    for other in ({"surrogates": ["two"]}, {"auxiliary": "others"}, {"seed": 1}):
        assert inputs(4, **other)[0] != first[0]
    assert stage_inputs(APF(4).stages()[1], UNIT, ["another"]) != first[1]


def test_a_stage_that_another_process_trains_is_waited_for_and_one_that_was_trained_is_read(tmp_path: Path) -> None:
    method, context, store = APF(8, width=4, epochs=1, batch=24), tiny_context(), Store(tmp_path)
    universal = method.stages()[0]
    with store.claim(f"L{content_key('trained', stage_inputs(universal, UNIT, []))}") as mine:
        assert mine and train_stages(store, method, context, UNIT, "apf") is None
    first = train_stages(store, method, context, UNIT, "apf")
    again = train_stages(store, method, replace(context, networks={}), UNIT, "apf")
    assert first is not None and again is not None and first.cost == again.cost
    assert list(first.tensors) == ["universal", "server"]
    whole = method.run_training(context)
    for stage, tensors in whole.tensors.items():
        assert all(torch.equal(tensor, again.tensors[stage][name]) for name, tensor in tensors.items())
    assert not list(tmp_path.glob("checkpoints/*/*"))


CLOAK: dict[str, Any] = {
    **{"width": 4, "discriminator_width": 4, "image_epochs": 10, "batch": 16},
    **{"person_epochs": 6, "warmup_epochs": 2, "people_per_batch": 8, "person_learning_rate": 1e-3},
}
"""Stage 1 has 30 steps in the tiny world, stage 2 has 18."""


class Ends:
    """Moments, in steps of a training, at which its process ends; then it is left alone."""

    def __init__(self, count: int, seed: int) -> None:
        self.left = [random.Random(seed).randint(1, 9) for _ in range(count)]

    def step(self) -> None:
        """One more step is about to end."""
        if self.left:
            self.left[0] -= 1
            if self.left[0] == 0:
                self.left.pop(0)
                raise KeyboardInterrupt


@pytest.mark.slow
def test_an_advcloak_killed_at_ten_random_moments_repeats_at_most_half_a_minute_and_ends_with_equal_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, ends, step_seconds = Clock(), Ends(10, seed=6), 7
    whole = AdvCloak("convex", **CLOAK).run_training(tiny_context())
    played = MaskGame.step

    def step(*arguments: Any) -> Any:
        clock.now += step_seconds
        ends.step()
        return played(*arguments)

    taken: list[list[tuple[str, int]]] = []
    monkeypatch.setattr(MaskGame, "step", step)
    monkeypatch.setattr(training, "StoredCheckpoint", partial(StoredCheckpoint, clock=clock))
    monkeypatch.setattr(training, "ProgressLines", lambda label: lambda done, total: taken[-1].append((label, done)))
    trained = None
    while trained is None:
        taken.append([])
        try:
            trained = train_stages(Store(tmp_path), AdvCloak("convex", **CLOAK), tiny_context(), UNIT, "cloak")
        except KeyboardInterrupt:
            clock.now += 1000  # until somebody starts it again
    assert len(taken) == 11 and not ends.left
    for number, steps in enumerate(taken):
        repeated = set(steps) & {step for earlier in taken[:number] for step in earlier}
        assert len(repeated) * step_seconds <= 30
    assert len({step for steps in taken for step in steps}) == 48
    assert any(len(set(steps) & set(taken[number])) for number, steps in enumerate(taken[1:])), "nothing was repeated"
    for stage, tensors in whole.tensors.items():
        assert all(torch.equal(tensor, trained.tensors[stage][name]) for name, tensor in tensors.items())
    passes = (trained.cost.forward_images, trained.cost.backward_images)
    assert passes == (whole.cost.forward_images, whole.cost.backward_images)


LONGER: dict[str, Any] = {**CLOAK, "image_epochs": 100, "person_epochs": 40}
"""420 steps: processes take some more before they are killed."""

TRAINS = """
import sys
from pathlib import Path
from cloakbench.bench.engine import checkpoints, training
from cloakbench.bench.store.store import Store
from cloakbench.methods.advcloak import AdvCloak
from cloakbench.methods.parts.tiny_world import tiny_context
checkpoints.EVERY_SECONDS = 0.1
training.ProgressLines = lambda label: lambda done, total: print(label, done, flush=True)
settings, unit = eval(sys.argv[2]), eval(sys.argv[3])
training.train_stages(Store(Path(sys.argv[1])), AdvCloak("convex", **settings), tiny_context(), unit, "cloak")
"""


@pytest.mark.slow
def test_processes_that_are_killed_for_good_at_ten_random_moments_end_with_equal_weights(tmp_path: Path) -> None:
    words, draws = [sys.executable, "-c", TRAINS, str(tmp_path), repr(LONGER), repr(UNIT)], random.Random(3)
    told: list[list[str]] = []
    for _ in range(10):
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(draws.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        told.append([first, *process.stdout.read().splitlines()])
        assert process.wait() == -signal.SIGKILL, "the training was over before the tenth kill"
    assert all(first.startswith("cloak: ") for first, *_ in told)
    assert len({first for first, *_ in told}) > 3, "they go on where others stood"
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    method, context = AdvCloak("convex", **LONGER), tiny_context()
    whole = method.run_training(context)
    again = train_stages(Store(tmp_path), method, replace(context, networks={}), UNIT, "cloak")
    assert again is not None
    for stage, tensors in whole.tensors.items():
        assert all(torch.equal(tensor, again.tensors[stage][name]) for name, tensor in tensors.items())


def test_progress_says_how_long_a_resumed_training_still_takes(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    with caplog.at_level(logging.INFO):
        progress = ProgressLines("apf 8/255: server", clock=clock)
        for second in range(1, 70):
            clock.now = float(second)
            progress(50 + second, 200)
    assert [record.getMessage() for record in caplog.records] == [
        "training apf 8/255: server: 80 of 200, 120 s left",
        "training apf 8/255: server: 110 of 200, 90 s left",
    ]
