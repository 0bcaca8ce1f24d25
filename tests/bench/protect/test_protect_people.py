"""Whose photos a method learns from, which faces of a photo it protects, and who judges."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
import torch
from albums import (
    NAMES,
    TEMPLATE,
    files,
    pixels,
    protect,
    rows,
    save_photo,
    write_points,
)
from torch import Tensor

from cloakbench.bench.core.errors import ConfigError
from cloakbench.datasets.detection import Detection


class TwoFaces:
    """Finds the same two faces in every photo."""

    points = torch.stack([TEMPLATE + torch.tensor([5.0, 10.0]), TEMPLATE * 1.1 + torch.tensor([75.0, 40.0])])

    def fingerprint(self) -> str:
        return "two faces"

    def detect(self, images: Sequence[Tensor]) -> list[Detection]:
        low, high = self.points.amin(1) - 15, self.points.amax(1) + 15
        boxes = torch.cat([low, high], 1)
        return [Detection(boxes.flip(0), self.points.flip(0), torch.ones(2)) for _ in images]


class Blind:
    """Finds a face in the first photo it sees and never again."""

    def __init__(self) -> None:
        self.seen = 0

    def fingerprint(self) -> str:
        return "blind"

    def detect(self, images: Sequence[Tensor]) -> list[Detection]:
        self.seen += 1
        found = TwoFaces().detect(images)[0]
        return [found if self.seen == 1 else Detection(torch.zeros(0, 4), torch.zeros(0, 5, 2), torch.zeros(0))]


def test_masks_per_person_come_from_the_references(album: Path) -> None:
    more = ("method=opom_convex_hull", "method.steps=3", "max_references=2", "format=png")
    assert any("these photos themselves" in warning for warning in protect(album, "own", *more).warnings)
    others = album.parent / "others"
    save_photo(others / "x.png", 21)
    save_photo(others / "y.png", 22)
    names = [*(f"album/{name}" for name in NAMES), "others/x.png", "others/y.png"]
    write_points(album.parent / "points.csv", names)
    outcome = protect(album, "given", *more, f"references={others}")
    assert not outcome.warnings
    assert files(album.parent / "own")["a.png"] != files(album.parent / "given")["a.png"]
    save_photo(album / "z.png", 23)  # by name after the references
    write_points(album.parent / "points.csv", [*names, "album/z.png"])
    grown = protect(album, "own", *more)
    assert (grown.protected, grown.reused) == (5, 4)


def test_methods_that_need_other_people_say_which_folder(album: Path) -> None:
    more = ("method=fgsm", "method.objective=aim")
    with pytest.raises(ConfigError, match="auxiliary=FOLDER"):
        protect(album, "out", *more)
    for name in ("ann", "bob"):
        save_photo(album.parent / "people" / name / "1.png", ord(name[0]))
    names = [*(f"album/{name}" for name in NAMES), "people/ann/1.png", "people/bob/1.png"]
    write_points(album.parent / "points.csv", names)
    assert not protect(album, "out", *more, f"auxiliary={album.parent / 'people'}").problems


def test_embedded_surrogates_bring_other_people_and_a_warning(album: Path, faces_cache: Path) -> None:
    shutil.rmtree(album / "trip")
    more = ["model@surrogate=arcface_ir", f"paths.cache={faces_cache}", "world.auxiliary_identities=3"]
    more += ["impostors.impostor_identities=4", "method=fgsm"]
    with pytest.raises(ConfigError, match=r"arcface_ir learnt from rendered faces.*model@surrogate=NAME.*force=true"):
        protect(album, "out", *more)
    assert not (album.parent / "out").exists()
    outcome = protect(album, "out", "method.objective=aim", "force=true", *more)
    assert not outcome.problems
    assert "too few for one" in (album.parent / "out" / "report.md").read_text()
    assert any("rendered faces" in warning for warning in outcome.warnings)


def test_every_face_or_the_main_one(album: Path) -> None:
    both = protect(album, "both", "landmarks_file=null", "faces=all", detector=TwoFaces())
    assert not both.problems
    table = rows(album.parent / "both").loc["a.png"]
    assert table["face"].tolist() == [1, 2]
    assert table["box_left"].is_monotonic_increasing
    original = pixels(album / "a.png").short()
    change = (pixels(album.parent / "both" / "a.png").short() - original).abs()
    assert change.max() <= 8
    protect(album, "one", "landmarks_file=null", detector=TwoFaces())
    alone = (pixels(album.parent / "one" / "a.png").short() - original).abs()
    assert "1 other faces in it are not protected" in rows(album.parent / "one").loc["a.png", "notes"]
    assert change.any(0).sum() > alone.any(0).sum() > 0


def test_a_face_that_is_not_found_again_has_no_similarity(album: Path) -> None:
    for name in ("b.jpg", "c.png", "trip/d.png"):
        (album / name).unlink()
    protect(album, "out", "landmarks_file=null", detector=Blind())
    row = rows(album.parent / "out").loc["a.png"]
    assert row["notes"] == "1 other faces in it are not protected; its face is not found in the copy"
    assert pd.notna(row["cosine_crop_tiny1"])
    assert pd.isna(row["cosine_photo_tiny1"])


def test_a_judge_that_raises_is_a_gap(album: Path) -> None:
    assert not protect(album, "out", "model@target=refusing").problems
    assert rows(album.parent / "out")["cosine_crop_refusing"].isna().all()


def test_one_photo_of_a_person_is_enough_where_a_generator_makes_others(
    album: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The references are one file; its views are made once and kept, and another seed or generator is another copy."""
    one, marks = album.parent / "me.png", album.parent / "marks"
    monkeypatch.setenv("OWN_VIEWS_MARKS", str(marks))
    save_photo(one, 31)
    write_points(album.parent / "points.csv", [*(f"album/{name}" for name in NAMES), "me.png"])
    more = ("method=uses_views", "method.points=true", f"references={one}", "format=png", "force=true")
    with pytest.raises(ConfigError, match=r"uses_views needs a generator: choose one with generator=NAME"):
        protect(album, "out", *more)
    first = protect(album, "out", *more, "generator=planted")
    assert first.protected == len(NAMES) and not first.problems
    assert marks.read_text().split() == ["1"]
    changed = (pixels(album / "a.png").short() - pixels(album.parent / "out" / "a.png").short()).abs()
    assert 0 < changed.max() <= 8
    again = protect(album, "out", *more, "generator=planted")
    assert (again.protected, again.reused) == (len(NAMES), len(NAMES))
    (album.parent / "out" / "a.png").unlink()
    protect(album, "out", *more, "generator=planted")
    assert marks.read_text().split() == ["1"]
    other = protect(album, "out", *more, "generator=augment", "overwrite=true")
    assert other.reused == 0


def test_a_generator_that_fails_ends_protecting_in_one_line_and_writes_no_copy(album: Path) -> None:
    more = ("method=uses_views", "force=true", "generator=planted", "generator.fault=not_finite")
    with pytest.raises(ValueError, match="generator planted gave a value that is not finite") as caught:
        protect(album, "out", *more)
    assert "\n" not in str(caught.value)
    assert not list((album.parent / "out").glob("*.png"))
