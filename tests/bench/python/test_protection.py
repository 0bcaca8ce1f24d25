"""`cloakbench.protect`: pictures of every kind in, 8-bit pictures within the budget out, and what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from own_parts import Brighter, own_recogniser
from own_views import Planted, UsesViews
from PIL import Image

import cloakbench
from cloakbench.bench.python.pictures import as_photos, as_pil

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"
ARRAY = np.random.default_rng(0).integers(0, 256, (4, 112, 112, 3), dtype=np.uint8)
TENSOR = torch.from_numpy(ARRAY).permute(0, 3, 1, 2)
OWN = own_recogniser()
NOBODY = cloakbench.FaceSet(TENSOR[:0], (), ())


def files(folder: Path) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for number, photo in enumerate(TENSOR):
        as_pil(photo).save(folder / f"photo{number}.png")
    return sorted(folder.iterdir())


def test_every_kind_of_picture_is_the_same_photos(tmp_path: Path) -> None:
    paths = files(tmp_path)
    kinds: list[Any] = [
        ARRAY,
        TENSOR,
        TENSOR.float() / 255,
        (TENSOR.double() / 255).requires_grad_(),
        list(map(str, paths)),
        tuple(paths),
        [Image.open(path) for path in paths],
    ]
    for kind in kinds:
        photos, names = as_photos(kind, "images")
        assert photos.dtype == torch.uint8 and torch.equal(photos, TENSOR)
        assert len(names) == len(set(names)) == 4
    assert as_photos(paths[1], "images")[0].shape == (1, 3, 112, 112)
    assert as_photos(paths, "images")[1] == [f"photo{number}.png" for number in range(4)]


def test_what_only_owners_may_have_comes_back_and_is_not_shown() -> None:
    done = cloakbench.protect(ARRAY, method="keeps_key", config_dir=CONFIG_DIR)
    [private] = done.private
    assert private["key"].shape == (4, 64) and "key" not in repr(done)


def test_the_budget_holds_after_rounding_and_the_frame_says_what_came_out(tmp_path: Path) -> None:
    done = cloakbench.protect(
        ARRAY, method="pgd", surrogate=OWN, epsilon_255=3, targets=own_recogniser(6, name="other")
    )
    change = done.to_numpy().astype(int) - ARRAY
    assert done.images.dtype == torch.uint8 and 0 < np.abs(change).max() <= 3
    measured = done.measured
    assert list(measured["linf_255"]) == [np.abs(one).max() for one in change]
    assert measured["l2_255"].to_numpy() == pytest.approx([np.sqrt((one**2).sum()) for one in change], rel=1e-5)
    assert (measured["status"] == "ok").all() and done.cost.backward_images > 0
    for name, judge in (("own", OWN), ("other", own_recogniser(6))):
        with torch.no_grad():
            cosines = (judge.embed(TENSOR / 255) * judge.embed(done.images / 255)).sum(1)
        assert measured[f"cosine_{name}"].to_numpy() == pytest.approx(cosines.numpy(), abs=1e-5)
    saved = done.save(tmp_path / "out")
    assert np.array_equal(np.stack([np.asarray(Image.open(path)) for path in saved]), done.to_numpy())
    assert len(done.to_pil()) == 4 and "4 protected images" in repr(done) and len(repr(done).splitlines()) < 8


def test_a_photo_does_not_depend_on_how_it_was_given_nor_on_a_second_call(tmp_path: Path) -> None:
    def protected(images: Any) -> torch.Tensor:
        return cloakbench.protect(images, method="pgd", surrogate=OWN).images

    assert torch.equal(protected(ARRAY), protected(TENSOR.float() / 255))
    assert torch.equal(protected(files(tmp_path)), protected(files(tmp_path)))


def test_a_method_of_ones_own_and_its_budget() -> None:
    done = cloakbench.protect(TENSOR // 2, method=Brighter(4, first_row=1))
    assert set((done.images - TENSOR // 2).unique().tolist()) == {0, 4}
    more = cloakbench.protect(TENSOR // 2, method=Brighter(4, first_row=1), epsilon_255=6)
    assert set((more.images - TENSOR // 2).unique().tolist()) == {0, 6}


def test_each_person_has_a_mask_of_their_own_references() -> None:
    people = ["ann", "ben", "ann", "ben"]
    references = {"ann": ARRAY[:2] // 2, "ben": ARRAY[2:] // 3 + 60}
    grey = np.full_like(ARRAY, 128)
    done = cloakbench.protect(
        grey, method="fi_uap", surrogate=OWN, references=references, people=people, epsilon_255=5
    ).images
    assert torch.equal(done[0], done[2]) and torch.equal(done[1], done[3]) and not torch.equal(done[0], done[1])
    alone = cloakbench.protect(grey[:1], method="fi_uap", surrogate=OWN, references=references["ann"], epsilon_255=5)
    assert (alone.images[0] != 128).any()


def test_a_photo_that_failed_is_counted_and_never_saved(tmp_path: Path) -> None:
    names = [tmp_path / f"photo{number:02}.png" for number in range(4)]
    for name, photo in zip(names, TENSOR, strict=True):
        as_pil(photo).save(name.with_suffix(""), "PNG")
    done = cloakbench.protect(
        [name.with_suffix("") for name in names], method="every_third_fails", config_dir=CONFIG_DIR
    )
    assert list(done.measured["status"]) == ["method_failed", "ok", "ok", "method_failed"]
    assert [path.name for path in done.save(tmp_path / "out")] == ["photo01.png", "photo02.png"]
    assert "2 protected images" in repr(done) and "2 failed" in repr(done)


def test_photos_that_are_called_alike_are_told_apart_and_all_saved(tmp_path: Path) -> None:
    paths = [*files(tmp_path / "ann")[:2], *files(tmp_path / "ben")[:2]]
    assert as_photos(paths, "images")[1] == [str(path) for path in paths]
    done = cloakbench.protect(paths, method="identity")
    saved = done.save(tmp_path / "out")
    assert [path.name for path in saved] == ["0_photo0.png", "1_photo1.png", "2_photo0.png", "3_photo1.png"]
    assert np.array_equal(np.stack([np.asarray(Image.open(path)) for path in saved]), done.to_numpy())


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ({"images": ARRAY.astype(float)}, r"images is an array float64 \(4, 112, 112, 3\): give paths"),
        ({"images": TENSOR.float()}, "images has values outside 0 to 1: divide 8-bit values by 255"),
        ({"images": TENSOR / 0.0}, "images has values outside 0 to 1"),
        ({"images": TENSOR[0]}, r"images is a tensor torch.uint8 \(3, 112, 112\): give paths"),
        ({"images": []}, "images is empty: give paths"),
        ({"images": ()}, "images is empty: give paths"),
        ({"images": ARRAY[:0]}, "images is empty: give paths"),
        ({"images": TENSOR[:0]}, "images is empty: give paths"),
        ({"images": 3}, "images is a int: give paths"),
        ({"images": ["nowhere.png"]}, r"images\[0\], nowhere.png: No such file"),
        ({"images": [__file__]}, r"images\[0\], .*test_protection.py: "),
        ({"images": [as_pil(TENSOR[0]), as_pil(TENSOR[1, :, :50])]}, r"images\[1\] is 112x50 and the first is 112x112"),
        ({"method": "pgdd"}, "there is no method called 'pgdd'"),
        ({"method": 3}, "method is a int: give the name of a method, or a Protector"),
        ({"method": "identity", "epsilon_255": 3}, "method has no setting 'epsilon_255'"),
        ({"epsilon_255": 400}, "method.epsilon_255 is 400"),
        ({"surrogate": None}, "pgd needs a recogniser to work against: give one with surrogate=NAME"),
        ({"surrogate": "cosface"}, "there is no model called 'cosface'.*cosface_ir"),
        ({"surrogate": {"one": 3}}, "surrogate is a int: give the name of a recogniser"),
        ({"surrogate": "cosface_ir"}, "cosface_ir learnt from rendered faces.* or set force=True"),
        ({"method": "fi_uap"}, "opom needs other photos of each person: give them with references="),
        ({"method": "fi_uap", "references": ARRAY, "people": list("aabb")}, "references must be a mapping from person"),
        ({"method": "fi_uap", "references": {"a": ARRAY}, "people": list("aabb")}, "references has no photos of b"),
        ({"method": "fi_uap", "references": {"a": ARRAY, "b": ARRAY[:2]}, "people": list("aabb")}, "equally many"),
        ({"people": ["a"]}, "people names 1 people for 4 images"),
        ({"method": "tip_im"}, "tip_im needs faces of other people: give them with auxiliary"),
        ({"method": "tip_im", "auxiliary": NOBODY}, "tip_im needs faces of other people: give them with auxiliary"),
        ({"device": "abacus"}, "abacus"),
    ],
)
def test_bad_input_is_one_line_with_the_remedy(call: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as problem:
        cloakbench.protect(**{"images": ARRAY, "method": "pgd", "surrogate": OWN, **call})
    assert "\n" not in str(problem.value)


def test_a_generator_makes_other_pictures_of_each_person_by_name_or_as_an_object() -> None:
    people = ["ada", "ben", "ada", "ben"]
    references = {"ada": ARRAY[:1], "ben": ARRAY[1:2]}
    method = UsesViews(epsilon_255=5, points=True)
    given: dict[str, Any] = {"method": method, "people": people, "references": references, "config_dir": CONFIG_DIR}
    with pytest.raises(cloakbench.ConfigError, match="uses_views needs a generator: choose one with generator=NAME"):
        cloakbench.protect(ARRAY, **given, reference_landmarks=np.ones((1, 5, 2)))
    with pytest.raises(cloakbench.ConfigError, match=r"give them with reference_landmarks=\.\.\."):
        cloakbench.protect(ARRAY, **given, generator="augment")
    with pytest.raises(cloakbench.ConfigError, match="reference_landmarks of ada are"):
        cloakbench.protect(ARRAY, **given, generator="augment", reference_landmarks=np.ones((2, 5, 2)))
    given["reference_landmarks"] = np.ones((1, 5, 2))
    with pytest.raises(cloakbench.ConfigError, match="generator is a int"):
        cloakbench.protect(ARRAY, **given, generator=3)
    named = cloakbench.protect(ARRAY, **given, generator="planted").images
    assert torch.equal(named, cloakbench.protect(ARRAY, **given, generator=Planted()).images)
    assert not torch.equal(named, cloakbench.protect(ARRAY, **given, generator=Planted(light=0.9)).images)
    mask = named.int() - TENSOR.int()
    assert mask.abs().max() == 5 and not torch.equal(mask[0], mask[1])
