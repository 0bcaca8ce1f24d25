"""Each layout on a planted copy of its data set: ids, people, roles, labels, and what is said when it is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import DictConfig
from PIL import Image

from cloakbench.bench.config.compose import WITHOUT_EXPERIMENT, compose_config
from cloakbench.datasets.layouts.casia_webface import CasiaWebFace
from cloakbench.datasets.layouts.celeba import CelebA
from cloakbench.datasets.layouts.celeba_hq import CelebAHq
from cloakbench.datasets.layouts.csv_table import CsvTable
from cloakbench.datasets.layouts.facescrub import FaceScrub
from cloakbench.datasets.layouts.lfw import Lfw
from cloakbench.datasets.layouts.opom import PrivacyCelebrities, PrivacyCommons
from cloakbench.datasets.layouts.utkface import UtkFace
from cloakbench.datasets.layouts.vggface2 import VggFace2
from cloakbench.datasets.listing import UNKNOWN, Layout
from cloakbench.datasets.pairs import read_pairs
from cloakbench.datasets.photos import DatasetError

from . import planted
from .planted import PLANTED

LAYOUTS = sorted(set(PLANTED) - {"celeba_hq_impersonation"})


@cache
def config_of(name: str) -> DictConfig:
    return compose_config([WITHOUT_EXPERIMENT, f"dataset={name}"]).dataset


def layout_of(name: str, root: Path) -> Layout:
    """The layout that ``dataset=NAME`` builds."""
    return instantiate(config_of(name).layout)(root)


def column(listing: Layout, name: str) -> list[int]:
    return listing.listing().attributes[name].tolist()


def error_of(layout: Layout) -> str:
    with pytest.raises(DatasetError) as caught:
        layout.listing()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_named_data_set_is_planted() -> None:
    """Not those that are made here, one's own, or another split of one that is planted."""
    conf = Path(__file__).parents[3] / "conf" / "dataset"
    named = {path.stem for path in conf.glob("*.yaml") if not path.stem.startswith("synthetic")}
    assert named - {"folder", "lfw_pairs"} == set(PLANTED)


@pytest.mark.parametrize("name", LAYOUTS)
def test_planted_copy_lists_unique_photos_that_open(tmp_path: Path, name: str) -> None:
    PLANTED[name](tmp_path)
    listing = layout_of(name, tmp_path).listing()
    assert len(listing) >= 14
    assert len(set(listing.image_id)) == len(listing)
    for place in listing.place:
        if isinstance(place, str):
            Image.open(place).verify()
    assert all(values.dtype == np.int16 for values in listing.attributes.values())
    assert not listing.role or len(listing.role) == len(listing)


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_a_person_must_know_is_stated(tmp_path: Path, name: str) -> None:
    layout = layout_of(name, tmp_path)
    assert layout.name == name
    assert layout.page.startswith("http") or name == "csv"
    assert layout.licence
    assert layout.folder
    assert layout.disk_gib > 0 or name == "csv"


@pytest.mark.parametrize("name", LAYOUTS)
def test_missing_data_set_names_page_and_folder(tmp_path: Path, name: str) -> None:
    layout = layout_of(name, tmp_path / "nowhere")
    message = error_of(layout)
    assert layout.page in message
    assert layout.folder in message
    assert str(tmp_path / "nowhere") in message


def test_lfw(tmp_path: Path) -> None:
    planted.lfw(tmp_path)
    listing = Lfw(tmp_path).listing()
    assert Counter(listing.identity) == {"Ann_Lee": 6, "Bo_Li": 5, "Cy_Oh": 4, "Dee_Ray": 3, "Eve_Fox": 2}
    assert list(listing.image_id[:2]) == ["Ann_Lee/Ann_Lee_0001.jpg", "Ann_Lee/Ann_Lee_0002.jpg"]
    assert listing.place[0] == str(tmp_path / "lfw/Ann_Lee/Ann_Lee_0001.jpg")
    pairs = read_pairs(tmp_path / "pairs.txt", tmp_path)
    assert {tmp_path / name for name in (*pairs.left, *pairs.right)} <= {Path(str(place)) for place in listing.place}
    assert Lfw(tmp_path / "lfw", photos=".").listing().image_id == listing.image_id


def test_casia_webface(tmp_path: Path) -> None:
    planted.casia_webface(tmp_path)
    (tmp_path / "0000200").mkdir()
    listing = CasiaWebFace(tmp_path).listing()
    assert Counter(listing.identity) == dict.fromkeys(("0000045", "0000099", "0000100", "0000107"), 5)
    assert not listing.rejected
    assert listing.ignored == 1  # the empty folder


def test_celeba(tmp_path: Path) -> None:
    planted.celeba(tmp_path)
    listing = CelebA(tmp_path).listing()
    assert listing.image_id[:2] == ["000001.jpg", "000002.jpg"]
    assert Counter(listing.identity) == dict.fromkeys(("2880", "2881", "2882", "2883", "2884"), 4)
    assert list(listing.attributes) == planted.CELEBA_ATTRIBUTES
    assert listing.attributes["5_o_Clock_Shadow"].tolist() == [0, 1] * 10
    assert listing.attributes["Young"].tolist() == [1, 0] * 10
    assert listing.landmarks is not None
    assert listing.landmarks.dtype == np.float32
    assert listing.landmarks[3].tolist() == [[72, 111], [108, 111], [88, 136], [72, 152], [105, 155]]
    assert [len(CelebA(tmp_path, partition=part).listing()) for part in ("train", "val", "test")] == [12, 4, 4]


def test_celeba_without_identities_needs_no_identity_file(tmp_path: Path) -> None:
    planted.celeba(tmp_path)
    (tmp_path / "identity_CelebA.txt").unlink()
    assert "identity_CelebA.txt does not exist; get it from https://mmlab" in error_of(CelebA(tmp_path))
    listing = CelebA(tmp_path, identities=False).listing()
    assert listing.identity == listing.image_id


def test_celeba_counts_what_it_cannot_use(tmp_path: Path) -> None:
    planted.celeba(tmp_path)
    (tmp_path / "img_align_celeba/000007.jpg").unlink()
    (tmp_path / "img_align_celeba/readme.md").touch()
    drop_line(tmp_path / "identity_CelebA.txt", 3)
    shorten(tmp_path / "list_landmarks_align_celeba.txt", "000001.jpg")
    listing = CelebA(tmp_path).listing()
    assert {entry.image_id: entry.status for entry in listing.rejected} == {
        "000004.jpg": "no_identity",
        "000007.jpg": "missing",
    }
    assert listing.ignored == 1
    assert listing.landmarks is not None
    assert np.isnan(listing.landmarks[0]).all()
    assert np.isfinite(listing.landmarks[1:]).all()
    assert len(listing) == 18


def drop_line(path: Path, index: int) -> None:
    lines = path.read_text().splitlines()
    del lines[index]
    path.write_text("\n".join(lines))


def shorten(path: Path, name: str) -> None:
    """Takes a row out of a titled file, and one off the number it announces."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith(name)]
    path.write_text("\n".join([str(int(lines[0]) - 1), *lines[1:]]))


def edited(name: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    def apply(root: Path) -> None:
        path = root / name
        path.write_text(change(path.read_text()))

    return apply


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (edited("list_attr_celeba.txt", lambda text: text[:-9]), r"list_attr_celeba.txt, line 22: .* 40 numbers"),
        (edited("list_attr_celeba.txt", lambda text: "21" + text[2:]), "20 rows, but its first line announces 21"),
        (edited("list_attr_celeba.txt", lambda text: text.replace("Young", "")), "40 column names"),
        (edited("list_attr_celeba.txt", lambda text: text.replace("  -1", "  3", 1)), "line 3: values must be among"),
        (edited("list_attr_celeba.txt", lambda text: text.replace("000009", "000008")), "000008.jpg occurs twice"),
        (
            edited("identity_CelebA.txt", lambda text: text.replace("2881", "x", 1)),
            "CelebA.txt, line 5: .*'x'",
        ),
        (edited("list_landmarks_align_celeba.txt", lambda text: text[: len(text) // 2]), "cut off|announces"),
        (edited("identity_CelebA.txt", lambda _: ""), "identity_CelebA.txt is empty"),
        (lambda root: (root / "list_landmarks_align_celeba.txt").unlink(), "landmarks_align_celeba.txt does not exist"),
    ],
)
def test_celeba_names_the_line_that_is_wrong(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    planted.celeba(tmp_path)
    damage(tmp_path)
    with pytest.raises(DatasetError, match=message):
        CelebA(tmp_path).listing()


def test_celeba_hq_finds_people_through_the_mapping(tmp_path: Path) -> None:
    planted.celeba_hq(tmp_path)
    listing = CelebAHq(tmp_path).listing()
    assert listing.image_id[:2] == ["0.jpg", "1.jpg"]
    assert listing.identity == [str(70 + n // 2) for n in range(20)]
    assert listing.attributes["Male"].tolist() == [1, 0] * 10
    assert listing.landmarks is None
    drop_line(tmp_path / "CelebA-HQ-to-CelebA-mapping.txt", 4)
    [entry] = CelebAHq(tmp_path).listing().rejected
    assert (entry.image_id, entry.status) == ("3.jpg", "no_identity")
    edited("CelebA-HQ-to-CelebA-mapping.txt", lambda text: text[:-12])(tmp_path)
    assert "CelebA-HQ-to-CelebA-mapping.txt, line 20:" in error_of(CelebAHq(tmp_path))


def test_utkface_reads_names_and_counts_the_odd_ones(tmp_path: Path) -> None:
    planted.utkface(tmp_path)
    listing = UtkFace(tmp_path).listing()
    assert listing.identity == listing.image_id
    assert listing.attributes["age"].tolist() == list(range(18, 36))
    assert listing.attributes["gender"].tolist() == [0, 1] * 9
    assert listing.attributes["race"].tolist() == [age % 5 for age in range(18, 36)]
    assert [entry.status for entry in listing.rejected] == ["bad_name"] * 2
    assert [entry.image_id[:3] for entry in listing.rejected] == ["117", "61_"]


def test_vggface2_splits_and_optional_genders(tmp_path: Path) -> None:
    planted.vggface2(tmp_path)
    assert column(VggFace2(tmp_path), "gender") == [0] * 5 + [1] * 5 + [UNKNOWN] * 5
    train = VggFace2(tmp_path, split="train").listing()
    assert set(train.identity) == {"n000002"}
    assert train.attributes["gender"].tolist() == [1] * 5
    edited("identity_meta.csv", lambda text: text.replace("1, f", "1, q"))(tmp_path)
    assert "identity_meta.csv, line 3: Gender is 'q'" in error_of(VggFace2(tmp_path))
    (tmp_path / "identity_meta.csv").unlink()
    assert not VggFace2(tmp_path).listing().attributes


def test_facescrub_takes_the_gender_from_the_list(tmp_path: Path) -> None:
    planted.facescrub(tmp_path)
    layout = FaceScrub(tmp_path)
    assert column(layout, "gender") == [0] * 10 + [1] * 10
    assert layout.listing().image_id[0] == "Al_Ba/Al_Ba_1_8.jpeg"
    (tmp_path / "actresses/faces/Cy_Da").rename(tmp_path / "actresses/faces/Al_Ba")
    assert "Al_Ba is among the actors and the actresses" in error_of(layout)


@pytest.mark.parametrize(("name", "probes"), [("privacy_commons", 5), ("privacy_celebrities", 10)])
def test_opom_lists_fix_the_roles(tmp_path: Path, name: str, probes: int) -> None:
    PLANTED[name](tmp_path)
    listing = layout_of(name, tmp_path).listing()
    roles = Counter(zip(listing.identity, listing.role, strict=True))
    for person in ("000", "001"):
        assert roles[person, "reference"] == 10
        assert roles[person, "probe"] == probes
    assert Counter(listing.role)["distractor"] == (6 if probes == 5 else 3)


def test_opom_distractors_are_strangers(tmp_path: Path) -> None:
    for folder, build in (("commons", planted.privacy_commons), ("celebrities", planted.privacy_celebrities)):
        build(tmp_path / folder)
    commons = PrivacyCommons(tmp_path / "commons").listing()
    assert commons.identity[-1] == commons.image_id[-1] == "distractors/5.jpg"
    celebrities = PrivacyCelebrities(tmp_path / "celebrities").listing()
    assert celebrities.image_id[-1] == "lfw_112x112/Bo_Li/Bo_Li_0001.jpg"
    assert celebrities.identity[-3:] == ["Ann_Lee", "Ann_Lee", "Bo_Li"]


def test_opom_counts_missing_and_repeated_photos(tmp_path: Path) -> None:
    planted.privacy_commons(tmp_path)
    (tmp_path / "faces/xa/train_3.jpg").unlink()
    edited("common_distractor.lst", lambda text: text + "6 distractors/0.jpg\n7 faces/xb/test_0.jpg\n")(tmp_path)
    listing = PrivacyCommons(tmp_path).listing()
    assert {entry.image_id: entry.status for entry in listing.rejected} == {
        "distractors/0.jpg": "duplicate",
        "faces/xb/test_0.jpg": "duplicate",
        "faces/xa/train_3.jpg": "missing",
    }
    assert len(listing) == 35


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: drop_line(root / "privacy_train_v3_10.lst", 4), "19 lines, not a multiple of 10"),
        (lambda root: planted.write(root / "privacy_test_v3_5.lst", *"abcde"), "ends with person 001 and .* with 000"),
        (edited("privacy_test_v3_5.lst", lambda text: text.replace("test_1", "train_1", 1)), "is in .* and in .*"),
        (edited("privacy_test_v3_5.lst", lambda text: text.replace("test_1", "test_0", 1)), "line 2: .* listed twice"),
        (edited("privacy_test_v3_5.lst", lambda text: "../" + text), "line 1: .* not a path below"),
        (edited("common_distractor.lst", lambda text: text + "9\n"), "line 7: '9'; expected a number and a path"),
        (lambda root: (root / "common_distractor.lst").unlink(), "common_distractor.lst does not exist; get it from"),
    ],
)
def test_opom_lists_that_are_wrong(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    planted.privacy_commons(tmp_path)
    damage(tmp_path)
    with pytest.raises(DatasetError, match=message):
        PrivacyCommons(tmp_path).listing()


def test_csv_table(tmp_path: Path) -> None:
    planted.csv(tmp_path)
    listing = CsvTable(tmp_path, attributes=["age"]).listing()
    assert listing.image_id[0] == "some/where/0.jpg"
    assert listing.identity[5] == "person 1"
    assert list(listing.role[:4]) == [None, "probe", "reference", "probe"]
    assert listing.attributes["age"].tolist() == [20, 21, UNKNOWN, *range(23, 40)]
    assert listing.landmarks is not None
    assert listing.landmarks[1].tolist() == [[1.5, 11.5], [21.5, 31.5], [41.5, 51.5], [61.5, 71.5], [81.5, 91.5]]
    assert np.isnan(listing.landmarks[3]).all()
    planted.write(tmp_path / "two.csv", "file,identity", "some/where/1.jpg,a", "some/where/2.jpg,b")
    plain = CsvTable(tmp_path, file="two.csv").listing()
    assert (list(plain.role), plain.landmarks, dict(plain.attributes)) == ([], None, {})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["file,person", "a.jpg,a"], "line 1: there is no column identity, age"),
        (["file,identity,age,role", "a.jpg,a,1,victim"], "line 2: role is 'victim', it must be empty or one of"),
        (["file,identity,age", "a.jpg,a,1", "b.jpg,a,1", "c.jpg,a,1"], r"line 3: there is no file .*b.jpg \(2 files"),
        (["file,identity,age", "a.jpg,a,1", "./a.jpg,a,1"], "line 3: a.jpg was listed in line 2"),
        (["file,identity,age", "a.jpg,a,old"], "line 2: age is 'old'"),
        (["file,identity,age", "a.jpg,a,-1"], "line 2: age is '-1'"),
        (["file,identity,age", "a.jpg,a"], "line 2: 3 values are needed"),
        (["file,identity,age", "a.jpg, ,1"], "line 2: identity is empty"),
        (["file,identity,age", "../a.jpg,a,1"], "line 2: '../a.jpg' is not a path below"),
        (["file,identity,age,nose_x,nose_y", "a.jpg,a,1,2,3"], "line 1: landmarks need ten columns"),
        (["file,identity,age"], "no rows below the header"),
    ],
)
def test_csv_table_that_is_wrong(tmp_path: Path, rows: list[str], message: str) -> None:
    planted.photos(tmp_path, ["a.jpg"])
    planted.write(tmp_path / "photos.csv", *rows)
    with pytest.raises(DatasetError, match=message):
        CsvTable(tmp_path, attributes=["age"]).listing()


@pytest.mark.parametrize("text", ["1,2,3,4,5,6,7,8,9,x", "1,2,3,4,5,6,7,8,9,"])
def test_csv_landmarks_are_ten_numbers_or_none(tmp_path: Path, text: str) -> None:
    planted.csv(tmp_path)
    lines = (tmp_path / "photos.csv").read_text().splitlines()
    planted.write(tmp_path / "photos.csv", lines[0], f"some/where/0.jpg,a,,1,x,{text}")
    assert "photos.csv, line 2: landmarks" in error_of(CsvTable(tmp_path))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: VggFace2(Path(), split="all"), "split is 'all'"),  # type: ignore[arg-type]
        (lambda: FaceScrub(Path(), photos="all"), "photos is 'all'"),  # type: ignore[arg-type]
        (lambda: CelebA(Path(), partition="dev"), "partition is 'dev'"),  # type: ignore[arg-type]
    ],
)
def test_options_out_of_range(build: Callable[[], Layout], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        build()
