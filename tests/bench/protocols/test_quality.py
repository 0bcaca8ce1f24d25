"""Image metrics against piq and numpy; what cannot be had stays a gap."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import piq
import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from perceptual_files import dists_files, dreamsim_files
from torch import Tensor

from cloakbench.bench.config.build import build
from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.protocols.quality.image_metric import ImageMetric
from cloakbench.bench.protocols.quality.learnt import Dists, DreamSim, Lpips
from cloakbench.bench.protocols.quality.metrics import (
    L2,
    Linf,
    MsSsim,
    Psnr,
    Ssim,
    l2_255,
    linf_255,
    ms_ssim_w7,
    psnr,
    ssim,
)
from cloakbench.bench.protocols.quality.protocol import Quality, _inputs
from cloakbench.models.dists import load_dists
from cloakbench.models.dreamsim import load_dreamsim
from cloakbench.models.perceptual import ALEXNET_SHA256_PREFIX

DISTS_NAMES = {"trunk": "vgg.pth", "heads": "heads.pt"}


def quality_metrics(path: Path | str | None = None, prefix: str = ALEXNET_SHA256_PREFIX) -> list[ImageMetric]:
    return [Ssim(), MsSsim(), Psnr(), Lpips(None if path is None else str(path), prefix), L2(), Linf()]


def quality_records(
    metrics: list[ImageMetric],
    original: Tensor,
    protected: Tensor,
    image_id: list[str],
    identity: list[int],
    status: list[str] | None = None,
) -> pd.DataFrame:
    status = status or ["ok"] * len(image_id)
    values = {one.described.name: one.of(original, protected, status).numpy() for one in metrics}
    return pd.DataFrame({"image_id": image_id, "identity": identity, "status": status, **values})


def quality_measurements(metrics: list[ImageMetric], records: pd.DataFrame) -> pd.DataFrame:
    quality = Quality({})
    vars(quality)["image_metrics"] = {one.described.name: one for one in metrics}
    return quality.measurements(records, 50, seed=0).set_index("metric")


def smooth_faces(draw: torch.Generator, count: int) -> Tensor:
    """Large soft shapes with fine texture: the spectrum of a photo, unlike noise."""
    shape = F.interpolate(torch.rand(count, 3, 7, 7, generator=draw), size=112, mode="bicubic")
    return (0.9 * shape + 0.1 * torch.rand(count, 3, 112, 112, generator=draw)).clamp(0, 1)


def pairs(kind: str) -> tuple[Tensor, Tensor]:
    """Six pairs of float images that went through 8 bits, with differences from one grey level to total."""
    draw = torch.Generator().manual_seed(5)
    left = smooth_faces(draw, 6) if kind == "face" else torch.rand(6, 3, 112, 112, generator=draw)
    strength = torch.tensor([1, 4, 8, 32, 128, 255]).view(-1, 1, 1, 1) / 255
    right = left + strength * torch.empty_like(left).uniform_(-1, 1, generator=draw)
    return (left * 255).round() / 255, (right.clamp(0, 1) * 255).round() / 255


@pytest.mark.parametrize("kind", ["random", "face"])
def test_ssim_agrees_with_piq(kind: str) -> None:
    """Whose window is not rounded to float32."""
    left, right = pairs(kind)
    ours = ssim(left, right)
    assert ours.min() < 0.5 < ours.max()
    exact = piq.ssim(left.double(), right.double(), reduction="none", downsample=False)
    torch.testing.assert_close(ours.double(), exact, atol=3e-6, rtol=0)


@pytest.mark.parametrize("kind", ["random", "face"])
def test_ms_ssim_agrees_with_piq(kind: str) -> None:
    left, right = pairs(kind)
    exact = piq.multi_scale_ssim(left.double(), right.double(), kernel_size=7, reduction="none")
    torch.testing.assert_close(ms_ssim_w7(left, right).double(), exact, atol=6e-6, rtol=0)


@pytest.mark.parametrize("size", [(11, 11), (97, 97), (113, 127)])
def test_odd_sizes_agree_too(size: tuple[int, int]) -> None:
    draw = torch.Generator().manual_seed(0)
    left = torch.rand(2, 3, *size, generator=draw)
    right = (left + 0.1 * torch.randn(left.shape, generator=draw)).clamp(0, 1)
    exact = piq.ssim(left.double(), right.double(), reduction="none", downsample=False)
    torch.testing.assert_close(ssim(left, right).double(), exact, atol=3e-6, rtol=0)


@pytest.mark.parametrize(("metric", "side"), [(ssim, 11), (ms_ssim_w7, 97)])
def test_too_small_for_its_window_is_an_error(metric: Callable[[Tensor, Tensor], Tensor], side: int) -> None:
    assert metric(*[torch.rand(1, 3, side, side)] * 2) == pytest.approx(1, abs=1e-6)
    with pytest.raises(ValueError, match=f"at least {side} pixels a side, got \\[{side - 1}, 112\\]"):
        metric(*[torch.rand(1, 3, side - 1, 112)] * 2)


def test_psnr_agrees_with_piq_and_is_undefined_for_equal_images() -> None:
    left, right = pairs("face")
    reference = piq.psnr(left, right, reduction="none")
    # piq adds 1e-8 to the squared error, 0.006 dB at one grey level.
    torch.testing.assert_close(psnr(left, right).float(), reference, atol=1e-2, rtol=0)
    torch.testing.assert_close(psnr(left, right).float()[2:], reference[2:], atol=1e-3, rtol=0)
    assert psnr(left, left).isnan().all()


def test_distances_are_in_grey_levels() -> None:
    left = torch.full((1, 3, 112, 112), 100, dtype=torch.uint8)
    right = left.clone()
    right[0, 0, 0, 0], right[0, 1, 5, 5] = 97, 104
    both = left.float() / 255, right.float() / 255
    assert l2_255(*both).item() == pytest.approx(5, abs=1e-4)
    assert linf_255(*both).item() == 4
    opposite = torch.zeros(1, 3, 112, 112), torch.ones(1, 3, 112, 112)
    assert l2_255(*opposite).item() == pytest.approx(255 * np.sqrt(3 * 112 * 112))


def batch(count: int = 9) -> tuple[Tensor, Tensor, list[str], list[int]]:
    draw = torch.Generator().manual_seed(1)
    original = (255 * smooth_faces(draw, count)).round().to(torch.uint8)
    noise = torch.randint(-8, 9, original.shape, generator=draw)
    protected = (original.int() + noise).clamp(0, 255).to(torch.uint8)
    return original, protected, [f"photo{i}" for i in range(count)], [i // 3 for i in range(count)]


def test_records_do_not_depend_on_the_batch() -> None:
    original, protected, image_id, identity = batch()
    together = quality_records(quality_metrics(), original, protected, image_id=image_id, identity=identity)
    for row in range(len(original)):
        alone = quality_records(
            quality_metrics(), original[[row]], protected[[row]], image_id=[image_id[row]], identity=[identity[row]]
        )
        numbers = ["ssim", "ms_ssim_w7", "psnr", "l2_255", "linf_255"]
        assert alone[numbers].iloc[0].tolist() == together[numbers].iloc[row].tolist()
    assert (together["linf_255"] == 8).all()


def test_equal_images_are_perfect_and_their_psnr_is_a_gap() -> None:
    original, _, image_id, identity = batch()
    metrics = quality_metrics()
    records = quality_records(metrics, original, original.clone(), image_id=image_id, identity=identity)
    table = quality_measurements(metrics, records)
    assert table.loc["ssim", "value"] == pytest.approx(1, abs=1e-6)
    assert table.loc["l2_255", ["value", "low", "high"]].tolist() == [0, 0, 0]
    assert np.isnan(table.loc["psnr", "value"])
    assert table.loc["psnr", ["status", "n", "note"]].tolist() == ["unavailable", 0, "9 of 9 pairs identical, not in n"]


def test_one_equal_pair_is_left_out_of_mean_psnr_and_said() -> None:
    original, protected, image_id, identity = batch()
    protected[0] = original[0]
    metrics = quality_metrics()
    records = quality_records(metrics, original, protected, image_id=image_id, identity=identity)
    row = quality_measurements(metrics, records).loc["psnr"]
    assert row["value"] == pytest.approx(records["psnr"][1:].mean())
    assert (row["n"], row["status"], row["note"]) == (8, "ok", "1 of 9 pairs identical, not in n")


def test_failed_photos_never_become_numbers() -> None:
    original, protected, image_id, identity = batch()
    status = ["method_failed", *["ok"] * 8]
    metrics = quality_metrics()
    ids = {"image_id": image_id, "identity": identity}
    records = quality_records(metrics, original, protected, **ids, status=status)
    assert records.loc[0, ["ssim", "l2_255"]].isna().all()
    row = quality_measurements(metrics, records).loc["ssim"]
    assert (row["n"], row["n_failed"], row["note"]) == (8, 1, "1 of 9 photos failed")
    assert row["value"] == pytest.approx(records["ssim"][1:].mean())

    records = quality_records(metrics, original, protected, **ids, status=["method_failed"] * 9)
    table = quality_measurements(metrics, records)
    assert table["value"].isna().all()
    assert table.loc["ssim", ["status", "n", "n_failed"]].tolist() == ["method_failed", 0, 9]


@pytest.mark.parametrize("path", [None, "no/such/alexnet.pth"])
def test_lpips_without_weights_is_a_gap_with_the_reason(path: str | None) -> None:
    original, protected, image_id, identity = batch(3)
    metrics = quality_metrics(path)
    records = quality_records(metrics, original, protected, image_id=image_id, identity=identity)
    row = quality_measurements(metrics, records).loc["lpips"]
    assert np.isnan(row["value"])
    assert (row["status"], row["n"]) == ("unavailable", 0)
    assert "image_metrics.lpips.path" in row["note"]


@pytest.mark.parametrize(("metric", "named"), [(Dists, "dists.heads"), (DreamSim, "dreamsim.clip")])
def test_a_metric_without_one_of_its_files_is_a_gap_with_reason_and_remedy(
    metric: type[Dists | DreamSim], named: str, tmp_path: Path
) -> None:
    files = dists_files(tmp_path) if metric is Dists else dreamsim_files(tmp_path)
    files[named.partition(".")[2]].place.unlink()
    one = metric(**files)
    assert one.missing.startswith(f"{one.described.title} needs ")
    assert one.missing.endswith(f"{one.remedy}, or name the local file in image_metrics.{named}.path")
    assert one.remedy == f"cloakbench fetch metric={one.described.name}"
    original, protected, _, _ = batch(2)
    assert one.of(original, protected, ["ok"] * 2).isnan().all()


@pytest.mark.slow
def test_dists_and_dreamsim_are_measured_a_few_pairs_at_a_time(tmp_path: Path) -> None:
    original, protected, image_id, identity = batch(6)
    for metric, load, files in (
        (Dists, load_dists, dists_files(tmp_path)),
        (DreamSim, load_dreamsim, dreamsim_files(tmp_path)),
    ):
        one = metric(**files)
        assert not one.missing and set(one.files) == set(files)
        records = quality_records([one], original, protected, image_id=image_id, identity=identity)
        expected = load(**files, device=torch.device("cpu"))(original / 255, protected / 255)
        name = one.described.name
        np.testing.assert_allclose(records[name], expected.double().numpy(), rtol=1e-4, atol=1e-7)
        assert quality_measurements([one], records).loc[name, ["status", "n"]].tolist() == ["ok", 6]
        seen: list[int] = []
        one._distance = lambda left, right, seen=seen: seen.append(len(left)) or torch.zeros(len(left))
        one.of(original, protected, ["ok"] * 6)
        assert sum(seen) == 6 and max(seen) <= 4


def test_what_files_hold_is_in_the_key_and_where_they_lie_is_not(tmp_path: Path) -> None:
    def inputs(folder: Path) -> dict[str, object]:
        node = {"_target_": "cloakbench.models.weight_file.WeightFile"}
        files = {name: {**node, "path": str(folder / file)} for name, file in DISTS_NAMES.items()}
        config = {"_target_": f"{Dists.__module__}.Dists", **files}
        quality = Quality({"dists": config})
        return _inputs(quality.image_metrics["dists"], config)

    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
    dists_files(first)
    for name in DISTS_NAMES.values():
        (second / name).write_bytes((first / name).read_bytes())
    assert inputs(first) == inputs(second)
    torch.save({"alpha": torch.ones(1)}, second / DISTS_NAMES["heads"])
    assert inputs(first) != inputs(second)


@pytest.fixture
def alexnet_file(tmp_path: Path) -> Path:
    """A drawn AlexNet in the layout of torchvision's file."""
    from torchvision.models import alexnet

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        weights = alexnet(weights=None).state_dict()
    # Only the trunk is read; the classifier would cost a quarter of a gigabyte.
    trunk = {name: value for name, value in weights.items() if name.startswith("features.")}
    torch.save(trunk, tmp_path / "alexnet.pth")
    return tmp_path / "alexnet.pth"


def test_lpips_uses_the_trunk_of_the_file_and_leaves_global_randomness_alone(alexnet_file: Path) -> None:
    """Against the definition: unit-normalised activations after each ReLU, squared difference, learned weights."""
    import lpips as package

    original, protected, image_id, identity = batch(3)
    before = torch.get_rng_state()
    metrics = quality_metrics(alexnet_file, "")
    records = quality_records(metrics, original, protected, image_id=image_id, identity=identity)
    assert torch.equal(before, torch.get_rng_state())

    weights = torch.load(alexnet_file, weights_only=True)
    heads = torch.load(Path(package.__file__).parent / "weights" / "v0.1" / "alex.pth", "cpu", weights_only=True)
    shift = torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1)
    scale = torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1)

    def activations(images: Tensor) -> list[Tensor]:
        x, maps = (images.float() / 255 * 2 - 1 - shift) / scale, []
        for layer, stride, padding in [(0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1)]:
            if layer in (3, 6):
                x = F.max_pool2d(x, 3, 2)
            kernel, bias = weights[f"features.{layer}.weight"], weights[f"features.{layer}.bias"]
            x = F.relu(F.conv2d(x, kernel, bias, stride=stride, padding=padding))
            maps.append(x / (x.norm(dim=1, keepdim=True) + 1e-10))
        return maps

    differences = [(a - b) ** 2 for a, b in zip(activations(original), activations(protected), strict=True)]
    layers = [(d * heads[f"lin{i}.model.1.weight"]).sum(1).mean((1, 2)) for i, d in enumerate(differences)]
    np.testing.assert_allclose(records["lpips"], torch.stack(layers).sum(0).numpy(), rtol=1e-4)
    assert quality_measurements(metrics, records).loc["lpips", "status"] == "ok"


def test_lpips_weights_that_are_not_what_they_claim_are_refused(alexnet_file: Path, tmp_path: Path) -> None:
    original, protected, image_id, identity = batch(1)

    def measure(path: Path, prefix: str | None = None) -> None:
        metrics = quality_metrics(path) if prefix is None else quality_metrics(path, prefix)
        quality_records(metrics, original, protected, image_id=image_id, identity=identity)

    with pytest.raises(ValueError, match=r"expected 7be5be79"):
        measure(alexnet_file)
    torch.save({"features.0.weight": torch.ones(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="is no torchvision AlexNet"):
        measure(tmp_path / "other.pth", "")


def test_bad_input_is_named() -> None:
    original, protected, image_id, identity = batch(2)
    for wrong in (protected.float(), protected[:1]):
        with pytest.raises(ValueError, match="both must be uint8"):
            quality_records(quality_metrics(), original, wrong, image_id=image_id, identity=identity)
    with pytest.raises(ValueError, match="one per photo"):
        Ssim().of(original, protected, ["ok"])


@pytest.fixture(scope="module")
def embedded() -> tuple[ImageMetric, dict]:
    config = compose_config(["experiment=smoke", "+image_metric@protocols.quality.image_metrics.one=embedded_lpips"])
    node = OmegaConf.to_container(config.protocols.quality.image_metrics.one, resolve=True)
    return build(node, "one"), node


def test_the_embedded_distance_grows_with_the_change_and_sees_each_pair_alone(
    embedded: tuple[ImageMetric, dict],
) -> None:
    metric, _ = embedded
    left, right = pairs("face")
    found = metric.values(left, right)
    assert (metric.values(left, left) == 0).all()
    assert (found.diff() > 0).all(), "one grey level to total"
    alone = torch.cat([metric.values(a[None], b[None]) for a, b in zip(left, right, strict=True)])
    torch.testing.assert_close(found, alone, atol=1e-6, rtol=0)


def test_the_embedded_distance_is_no_lpips_and_has_its_network_in_its_key(embedded: tuple[ImageMetric, dict]) -> None:
    metric, node = embedded
    assert metric.described.name == "embedded_lpips" != Lpips.described.name
    assert not metric.missing, "it needs no file"
    assert _inputs(metric, node)["network"] == metric.network != ""
    assert "network" not in _inputs(Ssim(), {"_target_": "cloakbench.bench.protocols.quality.metrics.Ssim"})
