"""AVIH: its variance term, its search where nothing is asked of it, its key networks, and what it costs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from cloakbench.bench.core.random_streams import generator
from cloakbench.methods.avih import AVIH
from cloakbench.methods.context import ProtectContext
from cloakbench.methods.parts.tiny_world import tiny_context, tiny_photos
from cloakbench.methods.parts.veils.block_variance import between_blocks
from cloakbench.methods.parts.veils.key_network import secret_filters
from cloakbench.methods.recovery import recovered_photos

SHORT: dict[str, Any] = {"steps": 30, "width": 8, "blocks": 1, "training_steps": 60}


def trained(method: AVIH) -> ProtectContext:
    return replace(tiny_context(), trained=method.run_training(tiny_context()).tensors)


def test_the_variance_term_is_that_of_block_sums_and_knows_nothing_of_brightness() -> None:
    photos = torch.rand(2, 3, 12, 12, generator=generator("avih"), dtype=torch.float64)

    def variance(pictures: torch.Tensor) -> torch.Tensor:
        return 4**4 * between_blocks(pictures, 4, unbiased=True)

    sums = torch.nn.functional.conv2d(photos.flatten(0, 1).unsqueeze(1), torch.ones(1, 1, 4, 4, dtype=torch.float64))
    expected = sums.flatten(1).var(dim=1).view(2, 3).sum(dim=1)
    assert torch.allclose(variance(photos), expected)
    assert float(variance(torch.full_like(photos, 0.3)).max()) < 1e-12
    assert torch.allclose(variance(photos + 0.2), variance(photos))
    assert torch.allclose(variance(3 * photos), 9 * variance(photos))


def test_a_photo_that_nothing_is_asked_of_stays_as_it_is() -> None:
    batch, method = tiny_photos(), AVIH(start="photo", decode_weight=0, variance_weight=0, **SHORT)
    outcome = method.protect(batch, trained(method))
    assert torch.equal(outcome.images, (255 * batch.images).round().to(torch.uint8))


def test_steps_never_grow_and_shrink_by_the_paper_s_share_for_each_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    method = AVIH(steps=100, momentum=0, width=8, blocks=1, training_steps=1)
    seen: list[torch.Tensor] = []

    def loss_and_slope(hidden: torch.Tensor, *_: Any) -> tuple[torch.Tensor, torch.Tensor]:
        step = len(seen)
        seen.append(hidden[:, 0, 0, 0].clone())
        return torch.tensor([float(step), -float(step)]), torch.ones_like(hidden) * (1 if step % 2 else -1)

    monkeypatch.setattr(method, "_loss_and_slope", loss_and_slope)
    method._search(torch.full((2, 3, 4, 4), 0.5), None, tiny_context())  # type: ignore[arg-type]
    moves = torch.stack(seen).diff(dim=0).abs()
    assert bool((moves.diff(dim=0) <= 1e-6).all())
    assert moves[-1, 0].item() == pytest.approx(0.01 * 0.85**6, rel=1e-3)  # after 98 rises
    assert moves[-1, 1].item() == pytest.approx(0.01, rel=1e-3)


def test_filters_are_orthonormal_and_each_user_has_their_own() -> None:
    filters = secret_filters(("ada", "ben"), tiny_context())
    assert torch.allclose(filters @ filters.mT, torch.eye(24).expand(2, -1, -1), atol=1e-5)
    assert torch.equal(filters[:1], secret_filters(("ada",), tiny_context()))
    overlap = (filters[0] @ filters[1].mT).square().sum() / 24
    assert 0.3 < float(overlap) < 0.7  # half of what one reads is noise to the other


def test_photos_come_back_with_their_owners_network_only() -> None:
    batch, method = tiny_photos(), AVIH(steps=100, width=8, blocks=1, training_steps=150)
    outcome = method.protect(batch, trained(method))
    rows = torch.arange(len(batch.images))

    def error(keys: torch.Tensor) -> torch.Tensor:
        back = recovered_photos(method, outcome.images, outcome.private, keys)
        return (back.float() / 255 - batch.images).square().mean(dim=(1, 2, 3))

    published = (outcome.images.float() / 255 - batch.images).square().mean(dim=(1, 2, 3))
    assert bool((error(rows) < 0.3 * published).all())
    assert torch.equal(error(rows), error((rows + 3) % 6)), "two photos of a person have one key"
    assert bool((error((rows + 1) % 6) > published).all())


def test_a_photo_costs_a_pass_of_both_networks_for_each_step() -> None:
    batch, method = tiny_photos(), AVIH(**SHORT)
    cost = method.protect(batch, trained(method)).cost
    assert cost.backward_images == 2 * 30 * len(batch.images)
    assert cost.forward_images == (2 * 30 + 1) * len(batch.images)


def test_photos_of_other_sizes_are_refused_in_one_line() -> None:
    method = AVIH(**SHORT)
    batch = replace(tiny_photos(), images=torch.zeros(6, 3, 30, 30))
    with pytest.raises(ValueError, match=r"^avih: the sides of photos must be multiples of 4, got \(30, 30\)$"):
        method.protect(batch, trained(method))
