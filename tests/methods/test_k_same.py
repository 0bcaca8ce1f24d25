"""k-Same: which faces are averaged, that nobody is among their own, and what a published photo tells (k-anonymity)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cloakbench.datasets.base import FaceSet
from cloakbench.methods.k_same import KSame
from cloakbench.methods.parts.tiny_world import tiny_context, tiny_photos


def others() -> FaceSet:
    return tiny_context().require_auxiliary()


def with_planted(identity: str) -> FaceSet:
    """The auxiliary faces and, as somebody's, the first photo that is to be protected."""
    faces, photo = others(), (tiny_photos().images[:1] * 255).round().to(torch.uint8)
    ids = (*faces.image_id, "planted")
    return FaceSet(torch.cat([faces.images, photo]), ids, (*faces.identity, identity))


def test_a_photo_becomes_the_mean_of_the_nearest_faces_of_k_people() -> None:
    batch, faces = tiny_photos(), others()
    published = KSame(3).protect(batch, tiny_context()).images
    gallery = faces.images.numpy().astype(np.int64)
    for photo, made in zip((batch.images * 255).round().numpy().astype(np.int64), published, strict=True):
        squares = np.square(gallery - photo).sum(axis=(1, 2, 3))
        best: dict[str, int] = {}
        for row in np.argsort(squares, kind="stable").tolist():
            best.setdefault(faces.identity[row], row)
        mean = gallery[list(best.values())[:3]].mean(axis=0)
        assert np.abs(made.numpy() - mean).max() <= 0.5


@pytest.mark.parametrize("identity", ["ada", "somebody"])
def test_the_photo_itself_is_never_averaged_under_whatever_name(identity: str) -> None:
    method, batch = KSame(4), tiny_photos()
    clean, planted = method.chosen(batch, others()), method.chosen(batch, with_planted(identity))
    assert torch.equal(clean[0], planted[0])
    assert method.chosen(batch, with_planted("somebody"))[3, 0] == 48, "whom it is no photo of may still be nearest"


def test_nothing_is_published_but_whom_was_chosen() -> None:
    """k-anonymity: a photo with the same k faces gives the same bytes, and each of them has the same share in it."""
    batch, context, method = tiny_photos(), tiny_context(), KSame(2)
    rows = method.chosen(batch, others())
    moved = replace(batch, images=(batch.images + 1 / 255).clamp(0, 1))
    same = (method.chosen(moved, others()) == rows).all(dim=1)
    assert bool(same.any())
    one, other = (method.protect(photos, context).images[same] for photos in (batch, moved))
    assert torch.equal(one, other) and not torch.equal(moved.images, batch.images)
    gallery = others().images.double()
    published = method.protect(batch, context).images.double()
    first, second = ((published - gallery[rows[:, place]]).flatten(1).norm(dim=1) for place in (0, 1))
    torch.testing.assert_close(first, second, rtol=0.01, atol=0)


def test_too_few_people_and_a_k_of_one_are_one_line() -> None:
    with pytest.raises(ValueError, match=r"^k_same: 24 auxiliary people are too few for k 24: lower method\.k, or set"):
        KSame(24).protect(tiny_photos(), tiny_context())
    with pytest.raises(ValueError, match=r"^k is 1: it must be a whole number of at least 2$"):
        KSame(1)
