"""Checkpoints over the store: paced, resumed by another process, forgotten when the work is done; and what they key."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cloakbench.bench.core.hashing import content_key
from cloakbench.bench.engine.checkpoints import ProgressLines, StoredCheckpoint
from cloakbench.bench.engine.training import stage_inputs, train_stages
from cloakbench.bench.store.store import Store
from cloakbench.methods.apf import APF
from cloakbench.methods.context import Kept
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
