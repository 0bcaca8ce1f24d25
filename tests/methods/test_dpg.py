"""DPG: bits are read back from stored photos, every person has their own, and the mark hides the face."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.core.ranges import SettingError
from cloakbench.methods.context import ProtectContext
from cloakbench.methods.dpg import DPG
from cloakbench.methods.parts.tiny_world import similarity, tiny_context, tiny_photos
from cloakbench.methods.parts.watermark.training import Distortion

FAST: dict[str, Any] = {"bits": 8, "width": 8, "batch": 12, "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def learnt() -> tuple[DPG, ProtectContext]:
    method = DPG(training_steps=120, **FAST)
    return method, replace(tiny_context(), trained=method.run_training(tiny_context()).tensors)


def stored(images: Tensor) -> Tensor:
    """Photos as a PNG file holds them, in [0, 1]."""
    read = []
    for image in images:
        file = BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "PNG")
        read.append(torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1).float() / 255)
    return torch.stack(read)


def test_bits_are_read_back_from_stored_photos_of_people_who_taught_nothing(learnt: tuple[DPG, ProtectContext]) -> None:
    method, context = learnt
    batch = tiny_photos()
    outcome = method.protect(batch, context)
    written = method.written(batch.identities, context)[batch.owner].bool()
    right = method.read(stored(outcome.images), context) == written
    assert right.float().mean() >= 0.95
    of_ada = int(right[batch.owner == 0].sum())
    assert outcome.facts["bits_read"]["ada"] == [of_ada, 2 * 8] and len(outcome.facts["bits_read"]) == 3
    clean = method.read(batch.images, context) == written
    assert clean.float().mean() < 0.8, "there is nothing to be read in a photo without a mark"


def test_the_mark_hides_the_face_from_the_recogniser(learnt: tuple[DPG, ProtectContext]) -> None:
    method, context = learnt
    batch = tiny_photos()
    images = method.protect(batch, context).images.float() / 255
    assert similarity(batch, images) < similarity(batch, batch.images) - 0.1


def test_bits_belong_to_the_person_and_the_seed() -> None:
    method, context = DPG(**FAST), tiny_context()
    ada, ben = method.written(("ada", "ben"), context)
    assert torch.equal(method.written(("ben",), context)[0], ben) and not torch.equal(ada, ben)
    assert not torch.equal(method.written(("ada",), replace(context, seed=1))[0], ada)


def test_distortions_are_drawn_and_each_leaves_a_photo() -> None:
    photos = tiny_photos().images
    kinds = set()
    for number in range(12):
        distortion = Distortion.drawn(photos, generator("distortion", number))
        seen = distortion(photos)
        assert seen.shape == photos.shape and torch.equal(seen, photos) is (distortion.kind == 0)
        kinds.add(distortion.kind)
    assert kinds == {0, 1, 2, 3}


def test_a_single_auxiliary_face_and_no_bits_are_one_line_each() -> None:
    single = replace(tiny_context(), auxiliary=tiny_context().require_auxiliary().select([0]))
    with pytest.raises(ValueError, match="at least two auxiliary faces"):
        DPG(**FAST).run_training(single)
    with pytest.raises(SettingError, match="bits is 0"):
        DPG(bits=0)
