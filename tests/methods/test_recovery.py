"""Recovery: photos come back from 8 bits within what a method states, and with their own key alone."""

from __future__ import annotations

import pytest
import torch
from veils import KEY, KeyedBlend, LossyBlend, WrongKey, veils_of

from cloakbench.bench.core.checks import CheckResult
from cloakbench.methods.base import Protector
from cloakbench.methods.conformance import check_protector
from cloakbench.methods.controls import RandomSign
from cloakbench.methods.parts.tiny_world import SIDE, tiny_context, tiny_photos
from cloakbench.methods.recovery import recovered_photos


def recovery_check(protector: Protector) -> CheckResult:
    return next(one for one in check_protector(protector) if one.name == "photos come back with their key")


@pytest.mark.parametrize("alpha", [0.2, 0.5, 0.8])
def test_photos_come_back_from_8_bits_within_what_is_stated(alpha: float) -> None:
    found = recovery_check(KeyedBlend(alpha))
    assert found.passed and not found.skipped, found.detail


@pytest.mark.parametrize(
    ("protector", "reason"),
    [
        (LossyBlend(0.2), "a value is off by 9 grey levels, stated at most 2.5"),
        (WrongKey(0.2), "somebody else's key brings a photo nearer"),
    ],
)
def test_the_check_catches_a_loss_and_a_key_that_is_everybodys(protector: Protector, reason: str) -> None:
    found = recovery_check(protector)
    assert not found.passed and reason in found.detail


def test_methods_without_recovery_are_skipped_and_refuse_it_in_one_line() -> None:
    assert recovery_check(RandomSign(8)).skipped and recovery_check(KeyedBlend(1)).skipped
    photos = torch.zeros(1, 3, SIDE, SIDE, dtype=torch.uint8)
    with pytest.raises(NotImplementedError, match="random_sign gives no photo back"):
        recovered_photos(RandomSign(8), photos, {}, torch.tensor([0]))
    with pytest.raises(NotImplementedError, match="keyed_blend gives no photo back at alpha 1"):
        recovered_photos(KeyedBlend(1), photos, {KEY: veils_of(("ada",), SIDE, 0)}, torch.tensor([0]))


def test_recovery_needs_the_published_photos_and_keys_alone_and_any_row_of_them() -> None:
    batch = tiny_photos()
    outcome = KeyedBlend(0.2).protect(batch, tiny_context())
    back = recovered_photos(KeyedBlend(0.2), outcome.images[[4, 1]], outcome.private, batch.owner[[4, 1]])
    assert float((back.float() - 255 * batch.images[[4, 1]]).abs().max()) <= 2.5
    own = {KEY: outcome.private[KEY][batch.owner[4:5]]}
    assert torch.equal(recovered_photos(KeyedBlend(0.2), outcome.images[4:5], own, torch.tensor([0])), back[:1])


def test_keys_that_do_not_fit_are_refused_in_one_line() -> None:
    photos = torch.zeros(2, 3, SIDE, SIDE, dtype=torch.uint8)
    with pytest.raises(ValueError, match="veil has 1 rows, and photos of more owners"):
        recovered_photos(KeyedBlend(), photos, {KEY: veils_of(("ada",), SIDE, 0)}, torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"keys of \(3, 16, 16\) for photos of \(3, 32, 32\)"):
        recovered_photos(KeyedBlend(), photos, {KEY: veils_of(("ada", "ben"), 16, 0)}, torch.tensor([0, 1]))
