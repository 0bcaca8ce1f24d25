"""Controls, and photos protected elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from cloakbench.bench.core.status import METHOD_FAILED
from cloakbench.methods.controls import Identity, RandomSign
from cloakbench.methods.parts.tiny_world import tiny_context, tiny_photos
from cloakbench.methods.precomputed import Precomputed


def test_identity_changes_nothing_and_says_nothing() -> None:
    protected = Identity().protect(tiny_photos(), tiny_context())
    assert protected.linf_255.max() == 0 and protected.warnings == ()


def test_random_sign_has_exactly_the_norm() -> None:
    batch = tiny_photos()
    difference = RandomSign(8).protect(batch, tiny_context()).images.float() - batch.images * 255
    assert torch.equal(difference.abs().round(decimals=3).unique(), torch.tensor([8.0]))
    assert abs(float(difference.mean())) < 0.2
    assert not torch.equal(difference[0], difference[1])


def save(path: Path, height: int = 32, width: int = 32, value: int = 100) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.new("RGB", (width, height), (value, value + 1, value + 2)).save(path)


def test_precomputed_fails_photo_by_photo(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = ("ada/one.jpg", "plain", "missing", "small", "text", "../outside")
    batch = replace(tiny_photos(), image_id=names)
    folder = tmp_path / "protected"
    save(folder / "ada" / "one.jpg.png", value=50)
    save(folder / "plain.png")
    save(folder / "small.png", height=30)
    (folder / "text.png").write_text("not a photo")
    save(tmp_path / "outside.png")
    protected = Precomputed(folder).protect(batch, tiny_context())
    assert protected.status == ("ok", "ok", *[METHOD_FAILED] * 4)
    assert protected.images[0, :, 5, 5].tolist() == [50, 51, 52]
    assert torch.equal(protected.images[2], (batch.images[2] * 255).round().to(torch.uint8))
    reasons = " ".join(record.getMessage() for record in caplog.records)
    assert reasons.startswith("precomputed: 4 of 6 photos failed: ")
    for reason in (
        "missing: no file missing.* in",
        "small: small.png: it is 32x30, the photo is 32x32",
        "text: text.png: not an image",
        "../outside: no file",
    ):
        assert reason in reasons
    assert list(protected.facts["failed"]) == ["missing", "../outside", "small", "text"]


def test_precomputed_needs_its_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"folder is .*there is no such folder"):
        Precomputed(tmp_path / "nowhere")


def test_precomputed_says_which_files_it_read(tmp_path: Path) -> None:
    """A photo replaced in the folder must give another cache key."""
    (tmp_path / "a.png").write_bytes(b"one")
    method = Precomputed(tmp_path)
    before = method.files_read(["a", "b"])
    assert before["b"] == ""
    assert len(before["a"]) == 64
    (tmp_path / "a.png").write_bytes(b"two")
    assert method.files_read(["a", "b"])["a"] != before["a"]
