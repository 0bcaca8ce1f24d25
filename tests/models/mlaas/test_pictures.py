"""Pictures and answers, as adapters send and keep them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from emulators.fleet import face

from cloakbench.models.pictures import Picture, PictureLimits

Start = Callable[[str], Any]


def test_pictures_keep_every_pixel_and_are_known_by_them() -> None:
    picture = face(1)
    again = Picture(base64.b64decode(picture.base64()), "png", 240, 240, picture.digest)
    assert again == picture
    assert face(1).digest != face(1, 1).digest
    assert Picture.of(_pixels(picture)).digest == picture.digest


def _pixels(picture: Picture) -> Any:
    import io

    import numpy as np
    import torch
    from PIL import Image

    return torch.from_numpy(np.array(Image.open(io.BytesIO(picture.content)))).permute(2, 0, 1)


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        ({"least_bytes": 1 << 20}, "bytes, at least 1048576 are taken"),
        ({"file_bytes": 10}, "bytes, at most 10 are taken"),
        ({"base64_bytes": 10}, "bytes as base64, at most 10 are taken"),
        ({"frame_px": (1920, 100)}, "it has 240x240 pixels, at most 1920x100 are taken"),
    ],
)
def test_why_a_picture_is_not_taken_says_what_would_be(limits: dict[str, Any], why: str) -> None:
    assert PictureLimits(**limits).refusal(face(1)).endswith(why)


def test_answers_of_a_search_survive_json(start: Start) -> None:
    pair = start("facepp")
    pair.service.found("cb_1")
    pair.service.enrol("cb_1", {"p1": face(1)})
    answer = pair.service.search("cb_1", face(1, 1), 1)
    assert type(answer).from_json(json.loads(json.dumps(answer.to_json()))) == answer
