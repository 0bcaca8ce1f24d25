"""Adv-Makeup: nothing but the eyes changes, makeup learns on all surrogates but one, and one alone is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.adv_makeup import AdvMakeup
from cloakbench.methods.context import NetworkKind, ProtectContext
from cloakbench.methods.parts.makeup.eye_crop import HEIGHT, WIDTH, EyeCrop
from cloakbench.methods.parts.makeup.eye_training import EyeGame, gradient_loss, style_loss
from cloakbench.methods.parts.tiny_world import tiny_context, tiny_photos

FAST: dict[str, Any] = {"width": 4, "discriminator_width": 4, "training_steps": 3, "batch": 4}


def two_surrogates() -> ProtectContext:
    context = tiny_context()
    (model,) = context.networks[NetworkKind.RECOGNISER]
    return replace(context, networks={NetworkKind.RECOGNISER: (model, model)})


def test_only_the_eyes_change() -> None:
    method, context = AdvMakeup(**FAST), two_surrogates()
    batch = tiny_photos()
    outcome = method.protect(batch, replace(context, trained=method.run_training(context).tensors))
    changed = (outcome.images.float() != (batch.images * 255).round()).any(dim=1)
    cover = EyeCrop(batch.require_landmarks(), *batch.images.shape[-2:]).cover[:, 0]
    assert changed.any() and not changed[cover == 0].any()
    # Eyes are at (10, 12) and (22, 12): ellipses about (10, 11.3) and (22, 11.3), half axes of 5.1 and 3.4 px.
    rows, columns = (cover > 0)[0].any(dim=1).nonzero().flatten(), (cover > 0)[0].any(dim=0).nonzero().flatten()
    assert (int(rows[0]), int(rows[-1])) == (8, 14) and (int(columns[0]), int(columns[-1])) == (5, 27)
    assert float(cover[0, 11, 10]) > 0.99 and not cover[0, 11, 16] and outcome.linf_255.max() <= 0.3 * 255 + 0.5


def test_what_is_cut_out_of_a_turned_face_is_pasted_back_where_it_was() -> None:
    points = torch.tensor([[[30.0, 50.0], [60.0, 62.0], [0, 0], [0, 0], [0, 0]]])
    rows, columns = torch.meshgrid(torch.arange(112.0), torch.arange(112.0), indexing="ij")
    smooth = torch.stack([rows, columns, rows + columns])[None] / 300
    crop = EyeCrop(points, 112, 112)
    cut = crop.cut(smooth)
    assert cut.shape == (1, 3, HEIGHT, WIDTH)
    # The middle of the eyes is 45, 56; the crop's centre is a tenth of the distance above it, across the line.
    middle = cut[0, :, HEIGHT // 2 - 1 : HEIGHT // 2 + 1, WIDTH // 2 - 1 : WIDTH // 2 + 1].mean(dim=(1, 2)) * 300
    torch.testing.assert_close(middle, torch.tensor([56 - 3.0, 45 + 1.2, 101 - 1.8]), atol=1e-3, rtol=0)
    pasted = crop.paste(torch.zeros_like(smooth), cut)
    inside = crop.cover[0, 0] > 0.999
    assert inside.sum() > 200
    torch.testing.assert_close(pasted[0][:, inside], smooth[0][:, inside], atol=2e-3, rtol=0)


def test_blending_losses_are_zero_for_what_changes_nothing_and_count_what_does() -> None:
    crops = torch.rand(2, 3, 6, 8, generator=generator("crops"))
    assert gradient_loss(crops, crops) == 0 and style_loss(crops, crops) == 0
    brighter = crops + 0.1  # no edge is new, each of three means is 0.1 off, no deviation is
    torch.testing.assert_close(gradient_loss(brighter, crops), torch.tensor(0.0), atol=1e-9, rtol=0)
    torch.testing.assert_close(style_loss(brighter, crops), torch.tensor(0.1**2 / 2))
    step = crops.clone()
    step[..., 4:] += 0.2  # one of seven places along each row
    torch.testing.assert_close(gradient_loss(step, crops), torch.tensor(0.2**2 / 7))


def test_each_surrogate_is_held_out_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []

    def learn(self: EyeGame, *given: Any) -> Tensor:
        held.append(given[5])
        return torch.zeros(2)

    monkeypatch.setattr(EyeGame, "learn", learn)
    AdvMakeup(**FAST).run_training(two_surrogates())
    assert held == [0, 1, 0]


class Spy(nn.Module):
    """A recogniser that counts what it is asked."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.asked = model, 0

    def embed(self, images: Tensor) -> Tensor:
        self.asked += len(images) * images.requires_grad
        features: Tensor = self.model.embed(images)  # type: ignore[operator]
        return features


def test_of_three_surrogates_two_teach_and_after_each_the_third_examines() -> None:
    context = tiny_context()
    spies = tuple(Spy(context.networks[NetworkKind.RECOGNISER][0]) for _ in range(3))
    AdvMakeup(**{**FAST, "training_steps": 1}).run_training(replace(context, networks={NetworkKind.RECOGNISER: spies}))
    assert [spy.asked for spy in spies] == [2 * 4, 4, 4]


def test_one_surrogate_for_a_meta_step_is_one_line() -> None:
    for ask in (AdvMakeup(**FAST).run_training, lambda context: AdvMakeup(**FAST).protect(tiny_photos(), context)):
        with pytest.raises(ValueError, match=r"surrogates?.*there is 1.*plan\.limits\.adv_makeup") as problem:
            ask(tiny_context())
        assert "\n" not in str(problem.value)


def test_a_photo_without_points_fails_and_the_others_do_not() -> None:
    method, context = AdvMakeup(**FAST), two_surrogates()
    batch = tiny_photos()
    points = batch.require_landmarks().clone()
    points[2] = float("nan")
    context = replace(context, trained=method.run_training(context).tensors)
    outcome = method.protect(replace(batch, landmarks=points), context)
    assert outcome.status == ("ok", "ok", "method_failed", "ok", "ok", "ok")


def test_auxiliary_faces_without_landmarks_are_one_line() -> None:
    context = two_surrogates()
    blind = replace(context.require_auxiliary(), landmarks=None)
    with pytest.raises(ValueError, match="the auxiliary faces have no landmarks"):
        AdvMakeup(**FAST).run_training(replace(context, auxiliary=blind))
