"""Folds of people share nobody and no photo, and a training that was killed ends with equal weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.random_streams import generator, layers_draw_from
from cloakbench.bench.engine.checkpoints import StoredCheckpoint
from cloakbench.bench.engine.learning.folds import (
    FoldOverlapError,
    fold_of,
    folds_of,
    refuse_overlap,
    refuse_shared_photos,
)
from cloakbench.bench.engine.learning.training import Keep, Reached, stored_training, train_network
from cloakbench.bench.store.store import Store
from cloakbench.datasets.base import FaceSet


def faces(people: str, seed: int = 0) -> FaceSet:
    images = torch.randint(0, 256, (len(people), 3, 4, 4), generator=generator("faces", seed), dtype=torch.uint8)
    return FaceSet(images, tuple(f"{name}/{seed}-{row}" for row, name in enumerate(people)), tuple(people))


def test_everybody_is_judged_once_by_what_was_learnt_from_others() -> None:
    identity = "aabbccdde"
    fold = fold_of(list(dict.fromkeys(identity)), 3)
    found = folds_of(identity, fold)
    assert sorted(row for part in found for row in part.judged) == list(range(len(identity)))
    for part in found:
        assert not {identity[row] for row in part.taught} & {identity[row] for row in part.judged}
        assert len(part.taught) + len(part.judged) == len(identity)
    # A method that is kept to fewer people judges them in the folds in which the others are judged, too.
    fewer = folds_of("abc", {"a": 0, "b": 1, "c": 2})
    assert [part.number for part in fewer] == [fold["a"], fold["b"], fold["c"]]


def test_whoever_is_judged_and_learnt_from_is_refused_in_one_line() -> None:
    with pytest.raises(FoldOverlapError, match=r"^the attacker learns from b, which it judges: keep them apart$"):
        refuse_overlap(["a", "b"], ["b", "c"])
    with pytest.raises(ValueError, match="fewer than two other people"):
        folds_of("aab", {"a": 0, "b": 1})


def test_one_photo_under_two_names_in_two_folds_is_refused_and_in_one_fold_is_not() -> None:
    some = faces("abc")
    planted = FaceSet(some.images[[0, 0, 2]], some.image_id, some.identity)
    with pytest.raises(ConfigError, match=r"photos a/0-0 and b/0-1 are one photo of two people") as refused:
        refuse_shared_photos(planted, {"a": 0, "b": 1, "c": 0})
    assert "\n" not in str(refused.value)
    refuse_shared_photos(planted, {"a": 0, "b": 0, "c": 1})
    known = FaceSet(some.images[[1]], ("reference/x",), ("c",))
    with pytest.raises(ConfigError, match="b/0-1 and reference/x"):
        refuse_shared_photos(some, {"a": 0, "b": 1, "c": 0}, [known])


def train(reached: Reached, keep: Keep, steps: int = 6) -> dict[str, Tensor]:
    with layers_draw_from("learning test"):
        network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 1))

    def loss_of(step: int) -> Tensor:
        return (network(torch.rand(5, 3, 4, 4, generator=generator("photos", step))) - 1).square().mean()

    return train_network(network, loss_of, steps, 0.01, reached, keep)


def test_a_killed_training_goes_on_to_equal_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(None, lambda tensors: None)

    class KilledError(Exception):
        pass

    store, calls = Store(tmp_path), 0
    monkeypatch.setattr("cloakbench.bench.engine.checkpoints.EVERY_SECONDS", 0.0)

    def killed(reached: Reached, keep: Keep) -> dict[str, Tensor]:
        def keep_three(tensors: Mapping[str, Tensor]) -> None:
            nonlocal calls
            calls += 1
            keep(tensors)
            if calls == 3:
                raise KilledError

        return train(reached, keep_three)

    with pytest.raises(KilledError):
        stored_training(store, {"what": "test"}, killed)
    seen: list[int] = []

    def goes_on(reached: Reached, keep: Keep) -> dict[str, Tensor]:
        assert reached is not None
        seen.append(int(reached["step"]))
        return train(reached, keep)

    resumed = stored_training(store, {"what": "test"}, goes_on)
    assert seen == [3]
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)

    def never(reached: Reached, keep: Keep) -> dict[str, Tensor]:
        raise AssertionError("it was learnt already")

    again = stored_training(store, {"what": "test"}, never)
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert StoredCheckpoint(store, "other", {}).load() is None


def test_a_loss_that_is_not_finite_says_at_which_step() -> None:
    network = nn.Linear(1, 1)
    with pytest.raises(FloatingPointError, match="at step 1; lower the learning_rate"):
        train_network(network, lambda step: network.weight.sum() * torch.inf, 2, 0.1, None, lambda tensors: None)
