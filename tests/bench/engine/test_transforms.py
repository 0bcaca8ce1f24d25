"""Transforms against Pillow, scipy and torchvision; no photo depends on its batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision.transforms.v2.functional as tv
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image
from scipy.ndimage import gaussian_filter, median_filter
from torch import Tensor

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.engine.cleaning.background import WithoutBackground
from cloakbench.bench.engine.grain_transforms import Median, SaltAndPepper
from cloakbench.bench.engine.publishing.platform import ColourProfile, Platform, Sharpen
from cloakbench.bench.engine.transforms import (
    Brightness,
    Contrast,
    GaussianBlur,
    GaussianNoise,
    Jpeg,
    Resize,
    Transform,
    Unchanged,
)

CONFIGS = sorted((Path(__file__).resolve().parents[3] / "conf" / "transform").glob("*.yaml"))
EVERY: list[Transform] = [
    Unchanged(),
    Jpeg(75),
    GaussianBlur(1.5),
    GaussianNoise(8),
    SaltAndPepper(0.05),
    Median(3),
    Brightness(1.3),
    Contrast(0.7),
    Resize(56),
    WithoutBackground(),
    Sharpen(),
    ColourProfile(),
    Platform("platform", [Resize(56), Sharpen(), Jpeg(75)]),
]


@pytest.fixture(scope="module")
def photos() -> Tensor:
    """Eleven soft images with texture, two batches' worth."""
    draw = torch.Generator().manual_seed(0)
    shapes = F.interpolate(torch.rand(11, 3, 9, 9, generator=draw), size=112, mode="bicubic")
    return (255 * (0.85 * shapes + 0.15 * torch.rand(shapes.shape, generator=draw)).clamp(0, 1)).to(torch.uint8)


def names(photos: Tensor) -> list[str]:
    return [f"photo{i}" for i in range(len(photos))]


@pytest.mark.parametrize("transform", EVERY, ids=lambda t: t.label)
def test_a_photo_comes_out_the_same_alone_in_a_batch_and_in_any_order(transform: Transform, photos: Tensor) -> None:
    original = photos.clone()
    together = transform(photos, names(photos))
    assert torch.equal(photos, original)
    assert together.dtype == torch.uint8
    assert together.shape == photos.shape
    assert together.data_ptr() != photos.data_ptr()
    for row in (0, 7, 10):
        assert torch.equal(transform(photos[[row]], [f"photo{row}"])[0], together[row])
    assert torch.equal(transform(photos.flip(0), names(photos)[::-1]).flip(0), together)
    assert len(transform(photos[:0], [])) == 0


@pytest.mark.parametrize("transform", EVERY[1:], ids=lambda t: t.label)
def test_every_transform_but_none_changes_the_photo(transform: Transform, photos: Tensor) -> None:
    assert not torch.equal(transform(photos, names(photos)), photos)
    assert torch.equal(Unchanged()(photos, names(photos)), photos)


@pytest.mark.parametrize("quality", [30, 75, 95])
def test_jpeg_is_what_a_file_on_disk_holds(quality: int, photos: Tensor, tmp_path: Path) -> None:
    ours = Jpeg(quality)(photos[:2], ["a", "b"])
    for photo, out in zip(photos, ours, strict=False):
        Image.fromarray(photo.permute(1, 2, 0).numpy()).save(tmp_path / "photo.jpg", quality=quality)
        assert np.array_equal(out.permute(1, 2, 0).numpy(), np.asarray(Image.open(tmp_path / "photo.jpg")))


def test_lower_quality_is_further_from_the_photo(photos: Tensor) -> None:
    errors = [(Jpeg(q)(photos, names(photos)).float() - photos.float()).square().mean() for q in (90, 60, 30)]
    assert errors[0] < errors[1] < errors[2]


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.3])
def test_blur_agrees_with_scipy(sigma: float, photos: Tensor) -> None:
    ours = GaussianBlur(sigma)(photos[:2], ["a", "b"]).numpy()
    radius = int(np.ceil(4 * sigma))
    expected = gaussian_filter(
        photos[:2].numpy().astype(float), (0, 0, sigma, sigma), mode="mirror", truncate=radius / sigma
    )
    assert np.array_equal(ours, expected.round().astype(np.uint8))


def test_noise_has_its_size_and_is_named_by_seed_and_photo() -> None:
    grey = torch.full((8, 3, 112, 112), 128, dtype=torch.uint8)
    noise = GaussianNoise(8, seed=1)(grey, names(grey)).float() - 128
    assert noise.std().item() == pytest.approx(8, rel=0.01)
    assert noise.mean().item() == pytest.approx(0, abs=0.1)
    assert not torch.equal(noise[0], noise[1])
    assert not torch.equal(GaussianNoise(8, seed=2)(grey, names(grey)).float() - 128, noise)
    # Twice the strength is the same pattern, twice as large, up to the two roundings.
    double = GaussianNoise(16, seed=1)(grey, names(grey)).float() - 128
    assert (double - 2 * noise).abs().max() <= 1.5


def test_noise_of_160_grey_levels_is_clipped_and_nothing_else() -> None:
    grey = torch.full((2, 3, 112, 112), 128, dtype=torch.uint8)
    strong = GaussianNoise(160)(grey, names(grey)).float()
    pattern = GaussianNoise(16)(grey, names(grey)).float() - 128
    assert (strong - (128 + 10 * pattern).clamp(0, 255)).abs().max() <= 6  # ten times half a grey level, and one
    assert ((strong == 0) | (strong == 255)).float().mean().item() == pytest.approx(0.424, abs=0.01)


@pytest.mark.parametrize("share", [0.05, 0.4, 1])
def test_salt_and_pepper_turns_its_share_of_pixels_half_of_them_white(share: float, photos: Tensor) -> None:
    photos = photos.clamp(1, 254)
    out = SaltAndPepper(share, seed=1)(photos, names(photos))
    turned = (out != photos).any(dim=1)
    assert turned.float().mean().item() == pytest.approx(share, abs=0.01)
    grains = out.movedim(1, -1)[turned]
    assert set(grains.unique().tolist()) == {0, 255} and bool((grains == grains[:, :1]).all())
    assert (grains[:, 0] == 255).float().mean().item() == pytest.approx(0.5, abs=0.02)
    fewer = SaltAndPepper(share / 2, seed=1)(photos, names(photos))
    assert torch.equal(torch.where(fewer != photos, out, photos), fewer), "a pattern of few is part of one of many"
    assert not torch.equal(SaltAndPepper(share / 2, seed=2)(photos, names(photos)), fewer)


@pytest.mark.parametrize("size", [3, 5])
def test_median_agrees_with_scipy(size: int, photos: Tensor) -> None:
    ours = Median(size)(photos[:2], ["a", "b"]).numpy()
    assert np.array_equal(ours, median_filter(photos[:2].numpy(), (1, 1, size, size), mode="mirror"))


@pytest.mark.parametrize("factor", [0.6, 1.0, 1.4])
def test_brightness_and_contrast_agree_with_torchvision(factor: float, photos: Tensor) -> None:
    pixels = photos.double() / 255
    pairs = [(Brightness(factor), tv.adjust_brightness), (Contrast(factor), tv.adjust_contrast)]
    for ours, reference in pairs:
        out = ours(photos, names(photos)).double()
        # torchvision weighs luma with four digits (0.2989), hence the margin beyond rounding.
        assert (out - 255 * reference(pixels, factor)).abs().max() <= 0.53
        if factor == 1:
            assert torch.equal(out.to(torch.uint8), photos)


def test_light_is_rounded_and_clipped_and_never_wraps() -> None:
    photo = torch.tensor([0, 1, 3, 199, 255], dtype=torch.uint8).view(1, 1, 1, 5).expand(1, 3, 1, 5)
    assert Brightness(1.5)(photo, ["a"])[0, 0, 0].tolist() == [0, 2, 4, 255, 255]


@pytest.mark.parametrize("size", [28, 56, 100])
def test_resize_agrees_with_pillow(size: int, photos: Tensor) -> None:
    ours = Resize(size)(photos[:3], ["a", "b", "c"])
    for photo, out in zip(photos, ours, strict=False):
        small = Image.fromarray(photo.permute(1, 2, 0).numpy()).resize((size, size), Image.Resampling.BILINEAR)
        expected = np.asarray(small.resize((112, 112), Image.Resampling.BILINEAR)).astype(int)
        assert np.abs(out.permute(1, 2, 0).numpy().astype(int) - expected).max() <= 1


def test_sharpening_agrees_with_scipy(photos: Tensor) -> None:
    pixels = photos.double().numpy()
    smooth = gaussian_filter(pixels, (0, 0, 1.5, 1.5), mode="mirror", truncate=4)
    expected = np.clip(np.round(pixels + 0.7 * (pixels - smooth)), 0, 255)
    got = Sharpen(0.7, 1.5)(photos, names(photos)).double().numpy()
    assert np.abs(got - expected).max() <= 1 and (got == expected).mean() > 0.999


def test_a_profile_that_is_kept_costs_rounding_and_one_that_is_dropped_costs_colour(photos: Tensor) -> None:
    back = ColourProfile("display_p3")(photos, names(photos)).int()
    off = (back - photos.int()).abs()  # the curve is steep where it is dark, and a level is more there
    assert 0 < off.double().mean() < 0.5 and off.max() <= 12 and (off <= 1).double().mean() > 0.98
    paler = ColourProfile("display_p3_dropped")(photos, names(photos)).double()
    spread = [pixels.amax(dim=1) - pixels.amin(dim=1) for pixels in (photos.double(), paler)]
    assert float(spread[1].mean()) < 0.95 * float(spread[0].mean())
    grey = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, -1, -1).contiguous()
    assert (ColourProfile()(grey, ["grey"]).int() - grey.int()).abs().max() <= 1


def test_pure_red_of_srgb_in_display_p3_is_what_colour_science_says() -> None:
    """(234, 51, 35): the well-known code of sRGB red in Display P3."""
    red = torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1)
    assert ColourProfile()(red, ["red"]).flatten().tolist() == pytest.approx([234, 51, 35], abs=1)


def test_a_platform_is_its_steps_one_after_the_other(photos: Tensor) -> None:
    steps = [Resize(56), Sharpen(), Jpeg(75)]
    expected = photos
    for step in steps:
        expected = step(expected, names(photos))
    assert torch.equal(Platform("p", steps)(photos, names(photos)), expected)


def test_labels_name_kind_and_strength() -> None:
    labels = [t.label for t in EVERY]
    assert labels == [
        "none", "jpeg_75", "gaussian_blur_1.5", "gaussian_noise_8", "salt_and_pepper_0.05", "median_3",
        "brightness_1.3", "contrast_0.7", "resize_56", "without_background_1.2",
        "sharpen_0.5", "colour_profile_display_p3_dropped", "platform",
    ]  # fmt: skip


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_configs_build_the_transform_they_are_named_after(path: Path) -> None:
    config = compose_config(["experiment=smoke", f"+transform@transforms.one={path.stem}"])
    transform = instantiate(OmegaConf.to_container(config.transforms.one, resolve=True))
    assert isinstance(transform, Transform)
    assert transform.label.startswith(path.stem)


def test_there_is_a_config_for_every_transform() -> None:
    targets = {OmegaConf.load(path)["_target_"].rsplit(".", 1)[1] for path in CONFIGS}
    assert targets == {type(t).__name__ for t in EVERY} | {"Purified"}  # which has to learn first


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Jpeg(0), "quality is 0: it must be a whole number from 1 to 95"),
        (lambda: GaussianBlur(0), "sigma_px is 0: it must be"),
        (lambda: GaussianNoise(-1), "sigma_255 is -1: it must be"),
        (lambda: Brightness(float("inf")), "factor is inf: it must be"),
        (lambda: SaltAndPepper(0), "share is 0: it must be a number above 0, up to 1"),
        (lambda: Median(4), "size_px is 4: it must be an odd whole number of at least 3"),
        (lambda: Platform("p", []), "steps is .*: it must be at least one transform"),
        (lambda: Sharpen(0), "amount is 0: it must be"),
        (lambda: Sharpen(1, 30)(torch.zeros(1, 3, 112, 112, dtype=torch.uint8), ["a"]), "too large"),
        (lambda: ColourProfile("cmyk"), "profile is cmyk: it must be"),  # type: ignore[arg-type]
        (lambda: Resize(0), "size_px is 0: it must be"),
        (lambda: GaussianBlur(30)(torch.zeros(1, 3, 112, 112, dtype=torch.uint8), ["a"]), "too large"),
        (lambda: Unchanged()(torch.zeros(1, 3, 8, 8), ["a"]), "must be uint8"),
        (lambda: Unchanged()(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), []), "0 image ids for 1 images"),
    ],
)
def test_nonsense_is_refused(build, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
