"""The renderer is named by what it draws: steady under last bits, and another name for anything that shows."""

from __future__ import annotations

import pytest
import torch

from cloakbench.datasets.synthetic import face_batch as batch
from cloakbench.datasets.synthetic.face_batch import FaceBatch, Sheet, renderer_version


@pytest.fixture(autouse=True)
def _uncached():
    renderer_version.cache_clear()
    yield
    renderer_version.cache_clear()


def drawn(monkeypatch: pytest.MonkeyPatch, change) -> tuple[str, Sheet]:
    """The version where ``change`` is made to the pixels of the specimens, and what they show."""
    seen: list[Sheet] = []
    render = FaceBatch.render

    def changed(self: FaceBatch) -> Sheet:
        seen.append(render(self))
        return Sheet(change(seen[-1].images.clone()), seen[-1].landmarks, seen[-1].attributes)

    with monkeypatch.context() as patch:
        patch.setattr(FaceBatch, "render", changed)
        renderer_version.cache_clear()
        return renderer_version(), seen[-1]


def test_last_bits_do_not_count_and_a_patch_of_another_colour_does(monkeypatch: pytest.MonkeyPatch) -> None:
    version = renderer_version()

    def last_bits(images: torch.Tensor) -> torch.Tensor:
        images[:, :, ::16, ::16] ^= 1  # 49 pixels of each photo, by one level
        return images

    def patch(images: torch.Tensor) -> torch.Tensor:
        images[3, 0, 40:52, 40:52] += 30  # one feature of one face
        return images

    kept, sheet = drawn(monkeypatch, last_bits)
    assert kept == version
    assert drawn(monkeypatch, patch)[0] != version
    for column, (name, classes) in enumerate(batch.ATTRIBUTES.items()):
        assert len(sheet.attributes[:, column].unique()) == len(classes), f"a class of {name} is not drawn"
