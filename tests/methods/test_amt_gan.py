"""AMT-GAN: its losses against sums done by hand, the cycle through H, and makeup that goes where it should."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cloakbench.methods.amt_gan import AMTGAN
from cloakbench.methods.parts.makeup.regions import face_regions
from cloakbench.methods.parts.makeup.transfer_networks import MakeupTransfer, Regulariser
from cloakbench.methods.parts.makeup.transfer_training import MakeupSide, TransferGame
from cloakbench.methods.parts.tiny_world import similarity, tiny_context, tiny_photos

FAST: dict[str, Any] = {"width": 4, "discriminator_width": 4, "training_steps": 3}


class Add(MakeupTransfer):
    """Adds a tenth of what the reference's mean is above a half."""

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def forward(self, faces: Tensor, references: Tensor, inside: Tensor) -> Tensor:
        return faces + 0.1 * (references.mean(dim=(1, 2, 3), keepdim=True) - 0.5)


class Off(Regulariser):
    """Takes off a constant."""

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def forward(self, faces: Tensor) -> Tensor:
        return faces - 0.03


@pytest.fixture
def game() -> TransferGame:
    rules = AMTGAN(**FAST).rules
    made = [make() for make in rules.makers().values()]
    return TransferGame(rules, 1e-3, *made)  # type: ignore[arg-type]


def test_terms_are_what_the_paper_says(game: TransferGame) -> None:
    context, batch = tiny_context(), tiny_photos()
    regions = face_regions(batch.require_landmarks(), 32, 32)
    (model,) = context.surrogates
    x, y = torch.full((2, 3, 32, 32), 0.4), torch.full((2, 3, 32, 32), 0.6)
    with torch.no_grad():
        known = model.embed(batch.images[:2])
    plain, made_up = MakeupSide(x, regions[:2], (known,)), MakeupSide(y, regions[2:4], (known,))
    game.pair.transfer, game.pair.regulariser = Add(), Off()
    terms, (worn, taken) = game.terms(plain, made_up, (model,))
    # 0.4 becomes 0.41 beside 0.6, and 0.6 becomes 0.59; H takes 0.03 off; their own makeup does 0.01.
    torch.testing.assert_close(worn, torch.full_like(x, 0.41))
    torch.testing.assert_close(taken, torch.full_like(y, 0.59))
    torch.testing.assert_close(
        terms["cycle"], torch.tensor(abs(0.41 - 0.03 - 0.01 - 0.4) + abs(0.59 - 0.03 + 0.01 - 0.6))
    )
    torch.testing.assert_close(terms["identity"], torch.tensor(0.01 + 0.01), atol=1e-6, rtol=0)
    # Lips 1, eyes 1, skin 0.1; both ways each pixel lacks 0.19.
    torch.testing.assert_close(terms["makeup"], torch.tensor(2 * (1 + 1 + 0.1) * 0.19**2))
    with torch.no_grad():
        torch.testing.assert_close(terms["adversarial"], (model.embed(worn) * known).sum(dim=1).mean())


def test_the_cycle_asks_h_and_a_way_back_that_is_right_costs_nothing(game: TransferGame) -> None:
    context, batch = tiny_context(), tiny_photos()
    regions = face_regions(batch.require_landmarks(), 32, 32)

    class Swap(Add):
        """Gives whoever the reference is."""

        def forward(self, faces: Tensor, references: Tensor, inside: Tensor) -> Tensor:
            return references + 0 * faces

    game.pair.transfer = Swap()
    known = tuple(model.embed(batch.images[:2]) for model in context.surrogates)
    plain, made_up = (MakeupSide(batch.images[rows], regions[rows], known) for rows in (slice(2), slice(2, 4)))
    terms, _ = game.terms(plain, made_up, context.surrogates)
    assert terms["cycle"] == terms["identity"] == 0 and terms["makeup"] < 1e-6


def test_training_lowers_what_the_recogniser_knows_within_the_bound() -> None:
    batch, context = tiny_photos(), tiny_context()
    method = AMTGAN(**{**FAST, "training_steps": 15, "learning_rate": 5e-3, "adversarial_weight": 50.0})
    outcome = method.protect(batch, replace(context, trained=method.run_training(context).tensors))
    assert outcome.linf_255.max() <= 0.3 * 255 + 0.5
    assert similarity(batch, outcome.images.float() / 255) < similarity(batch, batch.images) - 0.05


def test_too_few_faces_and_faces_without_landmarks_are_one_line_each() -> None:
    context = tiny_context()
    faces = context.require_auxiliary()
    for few, words in (
        (faces.select([0, 1]), "at least four auxiliary faces"),
        (replace(faces, landmarks=None), "no landmarks"),
    ):
        with pytest.raises(ValueError, match=words) as problem:
            AMTGAN(**FAST).run_training(replace(context, auxiliary=few))
        assert "\n" not in str(problem.value)


def test_nothing_outside_the_face_changes_and_a_face_without_points_fails() -> None:
    method, context, batch = AMTGAN(**FAST), tiny_context(), tiny_photos()
    points = batch.require_landmarks().clone()
    points[1] = float("nan")
    context = replace(context, trained=method.run_training(context).tensors)
    outcome = method.protect(replace(batch, landmarks=points), context)
    changed = (outcome.images != (batch.images * 255).round().to(torch.uint8)).any(dim=1)
    outside = face_regions(points, 32, 32).sum(dim=1) == 0
    assert outside[0].any() and changed[0].any() and not changed[outside].any()
    assert outcome.status == ("ok", "method_failed", "ok", "ok", "ok", "ok")
