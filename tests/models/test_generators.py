"""The generator contract, the one without a network, and those that come with weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from own_views import Planted
from safetensors.torch import save
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator as stream
from cloakbench.bench.core.ranges import SettingError
from cloakbench.models.conformance import smooth_images
from cloakbench.models.generation.augment import Augment
from cloakbench.models.generator_conformance import check_generator
from cloakbench.models.generators import (
    EmbeddedGenerator,
    Generator,
    GeneratorCard,
    GeneratorError,
    load_embedded_generator,
    view_streams,
)
from cloakbench.models.weight_file import WeightError


def streams(count: int, seed: int = 0) -> list[torch.Generator]:
    return [stream("views of a test", seed, number) for number in range(count)]


@pytest.mark.parametrize("model", [Augment(), Planted()], ids=["augment", "planted"])
def test_a_generator_of_ours_or_of_a_users_keeps_the_contract(model: Generator) -> None:
    results = check_generator(model, smooth_images())
    assert [result.detail for result in results if not result.passed] == []
    assert len(results) == 9


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("not_finite", "generator planted gave a value that is not finite"),
        ("size", r"generator planted gave \(4, 2, 3, 112, 111\) where \(4, 2, 3, 112, 112\) was asked for"),
        ("range", "generator planted gave values from .* pictures must lie in"),
    ],
)
def test_an_answer_that_is_no_pictures_is_one_line(fault: str, said: str) -> None:
    with pytest.raises(GeneratorError, match=said) as caught:
        Planted(fault=fault).views(smooth_images(), 2, streams(4))
    assert "\n" not in str(caught.value)


def test_fewer_than_one_view_or_streams_that_do_not_fit_are_refused() -> None:
    photos = smooth_images()
    with pytest.raises(SettingError, match="views is 0: it must be a whole number of at least 1"):
        Augment().views(photos, 0, streams(4))
    with pytest.raises(ValueError, match="3 streams for 4 photos"):
        Augment().views(photos, 1, streams(3))
    with pytest.raises(ValueError, match="float32"):
        Augment().views(photos.double(), 1, streams(4))


class Neighbourly(Planted):
    """Draws for all photos from the first stream, and shows some of the photo before."""

    def draw_views(self, photos: Tensor, count: int, streams: Sequence[torch.Generator]) -> Tensor:
        return super().draw_views(0.9 * photos + 0.1 * photos.roll(1, 0), count, streams)


class Forgetful(Planted):
    """Shows the same picture to everybody who asks."""

    def draw_views(self, photos: Tensor, count: int, streams: Sequence[torch.Generator]) -> Tensor:
        return photos[:, None].expand(-1, count, -1, -1, -1)


class Careless(Planted):
    """Draws from the state that everybody draws from."""

    def draw_views(self, photos: Tensor, count: int, streams: Sequence[torch.Generator]) -> Tensor:
        return photos[:, None] * torch.rand(len(photos), count, 1, 1, 1)


@pytest.mark.parametrize(
    ("model", "failing"),
    [
        (Neighbourly(), {"each photo for itself"}),
        (Forgetful(), {"views of a photo differ", "views depend on the stream"}),
        (
            Careless(),
            {
                "equal seeds, equal views",
                "each photo for itself",
                "no global random state",
                "eval mode whatever train() says",
            },
        ),
    ],
    ids=["neighbourly", "forgetful", "careless"],
)
def test_the_suite_catches_a_generator_that(model: Generator, failing: set[str]) -> None:
    assert {result.name for result in check_generator(model, smooth_images()) if not result.passed} == failing


def test_augment_with_nothing_to_change_gives_the_photo_or_its_mirror() -> None:
    still = Augment(crop=0, turn_degrees=0, brightness=0, contrast=0, gamma=1)
    photos = smooth_images()[:1]
    made = still.views(photos, 16, streams(1))[0]
    same = [bool((view - photos[0]).abs().max() < 1e-5) for view in made]
    mirrored = [bool((view - photos[0].flip(-1)).abs().max() < 1e-5) for view in made]
    assert all(a != b for a, b in zip(same, mirrored, strict=True))
    assert 0 < sum(same) < 16


@pytest.mark.parametrize("name", ["crop", "turn_degrees", "brightness", "contrast", "gamma"])
def test_each_setting_of_augment_alone_changes_pictures(name: str) -> None:
    nothing = {"crop": 0.0, "turn_degrees": 0.0, "brightness": 0.0, "contrast": 0.0, "gamma": 1.0}
    photos = smooth_images()[:1]
    still = Augment(**nothing).views(photos, 4, streams(1))
    moved = Augment(**{**nothing, name: 1.5 if name == "gamma" else 10.0 if name == "turn_degrees" else 0.3})
    assert (moved.views(photos, 4, streams(1)) - still).abs().flatten(2).amax(dim=2).min() > 0.005


def test_a_stream_is_named_by_seed_and_photo() -> None:
    def first(seed: int, photo: str) -> float:
        return float(torch.rand(1, generator=view_streams(seed, [photo])[0]))

    assert first(0, "a") == first(0, "a")
    assert len({first(0, "a"), first(1, "a"), first(0, "b")}) == 3


class Blend(nn.Module):
    """A network small enough to write down."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, channels, 1)
        self.shift = nn.Linear(5, channels)

    def forward(self, photos: Tensor, noise: Tensor) -> Tensor:
        return self.mix(photos) + 0.1 * self.shift(noise)[:, :, None, None]


def write_weights(folder: Path, name: str = "blend") -> str:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        content = save({key: value.half() for key, value in Blend().state_dict().items()})
    (folder / f"{name}.safetensors").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    (folder / f"{name}.json").write_text(json.dumps({"sha256": digest, "training_set": "rendered people"}))
    return digest


def test_an_embedded_generator_comes_with_its_card_and_keeps_the_contract(tmp_path: Path) -> None:
    digest = write_weights(tmp_path)
    model = load_embedded_generator(name="blend", network=Blend, noise_size=5, folder=tmp_path)
    assert (model.card.weights_sha256, model.card.training_set) == (digest, "rendered people")
    assert [result.detail for result in check_generator(model, smooth_images()) if not result.passed] == []


def test_weights_of_a_generator_that_are_missing_altered_or_of_another_network_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(WeightError, match=r"'blend' has no weights in .*; run `cloakbench generator`"):
        load_embedded_generator(name="blend", network=Blend, noise_size=5, folder=tmp_path)
    write_weights(tmp_path)
    with pytest.raises(WeightError, match=r"do not fit conf/generator/blend\.yaml") as caught:
        load_embedded_generator(name="blend", network=lambda: Blend(4), noise_size=5, folder=tmp_path)
    assert "\n" not in str(caught.value)
    with (tmp_path / "blend.safetensors").open("ab") as file:
        file.write(b"more")
    with pytest.raises(WeightError, match="its card says"):
        load_embedded_generator(name="blend", network=Blend, noise_size=5, folder=tmp_path)


def test_an_embedded_generator_that_answers_out_of_range_is_cut_to_it() -> None:
    class Loud(Blend):
        def forward(self, photos: Tensor, noise: Tensor) -> Tensor:
            return 5 * super().forward(photos, noise)

    model = EmbeddedGenerator(Loud(), 5, GeneratorCard("loud", "network"))
    low, high = model.views(smooth_images(), 2, streams(4)).aminmax()
    assert (float(low), float(high)) == (0, 1)
