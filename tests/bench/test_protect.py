"""`cloakbench protect` from file to file: what is written, what is refused, and what an interruption leaves behind."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from cloakbench_test_plugins import tiny
from PIL import Image
from real_pack import PACK, requires_pack
from torch import Tensor

from cloakbench.bench.commands.protect import main
from cloakbench.bench.composition import compose_config
from cloakbench.bench.plan import ConfigError
from cloakbench.bench.protecting import run as run_module
from cloakbench.bench.protecting.collect import Photo, clashing
from cloakbench.bench.protecting.run import Outcome, run_protect
from cloakbench.bench.protecting.settings import read_settings
from cloakbench.bench.protecting.softened import Softened
from cloakbench.datasets.alignment import ARCFACE_TEMPLATE, similarity_transform
from cloakbench.datasets.detection import Detection
from cloakbench.datasets.paste import crop_box
from cloakbench.datasets.photos import decode

CONFIG_DIR = str(Path(__file__).parents[1] / "support" / "conf")
TEMPLATE = torch.tensor(ARCFACE_TEMPLATE)
POINT_COLUMNS = [f"{p}_{a}" for p in ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth") for a in "xy"]
NAMES = ("a.png", "b.jpg", "c.png", "trip/d.png")
POINTS = TEMPLATE * 1.3 + torch.tensor([35.0, 12.0])
"""A face of 146 pixels in the photos below, a little out of the middle."""


def save_photo(path: Path, seed: int, width: int = 230, height: int = 190, **options: Any) -> None:
    """Soft colours with fine grain, as far from black and white as a budget of 16 needs."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 9, 11, generator=draw)
    soft = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0] * 150 + 50
    pixels = (soft + torch.randn(3, height, width, generator=draw) * 4).clamp(20, 235).round().to(torch.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path, **options)


def write_points(table: Path, names: Sequence[str], points: Tensor = POINTS) -> None:
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", *POINT_COLUMNS])
        writer.writerows([name, *points.flatten().tolist()] for name in names)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Four photos of one person, one of them in a folder, with their landmarks beside them."""
    folder = tmp_path / "album"
    for seed, name in enumerate(NAMES):
        save_photo(folder / name, seed, **({"quality": 95} if name.endswith("jpg") else {}))
    write_points(tmp_path / "points.csv", [f"album/{name}" for name in NAMES])
    return folder


def words(album: Path, output: str = "out", *more: str) -> list[str]:
    base = album.parent
    method = [] if any(word.startswith("method=") for word in more) else ["method=pgd", "method.steps=3"]
    return [
        f"input={album}",
        f"output={base / output}",
        f"landmarks_file={base / 'points.csv'}",
        "model@surrogate=tiny1",
        *method,
        *more,
    ]


class NoFace:
    """Finds nothing."""

    def fingerprint(self) -> str:
        return "no face"

    def detect(self, images: Sequence[Tensor]) -> list[Detection]:
        return [Detection(torch.zeros(0, 4), torch.zeros(0, 5, 2), torch.zeros(0)) for _ in images]


def protect(album: Path, output: str = "out", *more: str, detector: Any = None) -> Outcome:
    config = compose_config(words(album, output, *more), config_name="protect", config_dirs=[CONFIG_DIR])
    return run_protect(replace(read_settings(config), detector=detector or NoFace()))


def rows(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "report.csv").set_index("file")


def pixels(path: Path) -> Tensor:
    return decode(path.read_bytes(), 100)


def files(folder: Path) -> dict[str, bytes]:
    """Everything a user sees in an output folder."""
    found = (path for path in folder.rglob("*") if path.is_file() and ".cloakbench" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_only_the_face_changes_and_within_the_budget(album: Path) -> None:
    outcome = protect(album)
    out = album.parent / "out"
    assert not outcome.problems
    assert outcome.protected == 4
    assert set(files(out)) == {"a.png", "b.png", "c.png", "trip/d.png", "report.csv", "report.md"}
    left, top, right, bottom = crop_box(similarity_transform(POINTS, TEMPLATE), 190, 230)
    table = rows(out)
    for name in NAMES:
        original, copy = pixels(album / name), pixels((out / name).with_suffix(".png"))
        change = (copy.short() - original.short()).abs()
        assert 5 <= change.max() <= 8
        assert table.loc[name, "max_change_255"] == change.max()
        assert table.loc[name, "changed_pixels"] == change.any(0).sum()
        face = change[:, top:bottom, left:right]
        assert table.loc[name, "mean_change_255"] == pytest.approx(face.double().mean().item(), abs=1e-4)
        change[:, top:bottom, left:right] = 0
        assert not change.any()
    assert (table["status"] == "ok").all()
    assert (table["cosine_crop_tiny1"] < table["cosine_photo_tiny1"]).all()
    assert (table["cosine_photo_tiny1"] < 0.95).all()
    assert table["ssim"].between(0.5, 0.9999).all()
    assert table["crop_px"].unique() == pytest.approx([145.6])


def test_no_budget_no_change(album: Path) -> None:
    protect(album, "out", "method=identity")
    for name in ("a.png", "trip/d.png"):
        assert torch.equal(pixels(album.parent / "out" / name), pixels(album / name))
    assert set(rows(album.parent / "out")["max_change_255"]) == {0}


def test_jpeg_is_of_high_quality_and_the_report_says_what_it_does(album: Path) -> None:
    outcome = protect(album, "out", "format=jpeg", "method.epsilon_255=4")
    out = album.parent / "out"
    copy = Image.open(out / "a.jpg")
    assert copy.layer[0][1:3] == copy.layer[1][1:3]  # type: ignore[attr-defined]
    assert (pixels(out / "a.jpg").float() - pixels(album / "a.png").float()).abs().mean() < 4
    assert any("JPEG changes every pixel" in warning for warning in outcome.warnings)
    assert rows(out).loc["a.png", "max_change_255"] > 4


def test_a_photo_taken_sideways_comes_out_upright_and_its_metadata_follow_the_policy(album: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "ACME"
    upright = Image.open(album / "a.png")
    upright.transpose(Image.Transpose.ROTATE_90).save(album / "a.png", exif=exif)
    for policy, fields in (("strip", {}), ("keep", {0x0112: 1, 0x010F: "ACME"})):
        protect(album, policy, f"metadata={policy}")
        copy = Image.open(album.parent / policy / "a.png")
        assert copy.size == (230, 190)
        assert dict(copy.getexif()) == fields
    assert rows(album.parent / "strip").loc["a.png", "metadata_dropped"] == "EXIF"


def test_every_photo_without_a_copy_has_its_reason_and_nothing_else_is_lost(album: Path) -> None:
    (album / "e.jpg").write_text("no image")
    (album / "f.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (album / "notes.txt").write_text("no photo")
    save_photo(album / "g.png", 7)
    save_photo(album / "h.bmp", 8)
    save_photo(album / "h.webp", 9)
    save_photo(album / "i.png", 10, width=3000, height=1000)
    out = album.parent / "out"
    save_photo(out / "c.png", 11)
    before = (out / "c.png").read_bytes()
    outcome = protect(album, "out", "max_megapixels=2")
    found = rows(out)["status"].to_dict()
    assert found == {
        "a.png": "ok",
        "b.jpg": "ok",
        "c.png": "exists",
        "e.jpg": "unreadable",
        "f.heic": "unreadable",
        "g.png": "no_face",
        "h.bmp": "name_clash",
        "h.webp": "name_clash",
        "i.png": "too_large",
        "trip/d.png": "ok",
    }
    assert set(files(out)) == {"a.png", "b.png", "c.png", "trip/d.png", "report.csv", "report.md"}
    assert (out / "c.png").read_bytes() == before
    assert len(outcome.problems) == 7
    assert "dataset." not in "".join(outcome.problems)
    assert any("i.png: too_large" in line and "max_megapixels" in line for line in outcome.problems)
    assert "3 of 10 photos have a protected copy" in (out / "report.md").read_text()


def test_the_command_says_each_loss_in_a_line_and_ends_with_status_one(album: Path, capsys: Any) -> None:
    assert main([*words(album), "--config-dir", CONFIG_DIR]) == 0
    (album / "e.jpg").write_text("no image")
    write_points(album.parent / "points.csv", [*(f"album/{name}" for name in NAMES), "album/e.jpg"])
    assert main([*words(album), "--config-dir", CONFIG_DIR]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert errors[0].startswith("error: e.jpg: unreadable: not an image")


def test_faces_that_are_too_small_are_refused(album: Path) -> None:
    outcome = protect(album, "out", "min_crop_px=150")
    assert outcome.protected == 0
    assert set(rows(album.parent / "out")["status"]) == {"too_small"}


@pytest.mark.parametrize(
    ("method", "status", "words"),
    [
        ("raises", "method_failed", "ZeroDivisionError: this method always fails"),
        ("random_sign method.epsilon_255=0.4", "unchanged", "changed nothing"),
    ],
)
def test_what_a_method_did_not_protect_is_not_copied(album: Path, method: str, status: str, words: str) -> None:
    outcome = protect(album, "out", *f"method={method}".split())
    assert len(outcome.problems) == 4
    assert all(f"{status}: " in problem and words in problem for problem in outcome.problems)
    assert set(files(album.parent / "out")) == {"report.csv", "report.md"}


def test_one_photo_alone_gives_the_same_bytes_as_in_its_folder(album: Path) -> None:
    protect(album)
    protect(album, "alone", f"input={album / 'b.jpg'}")
    assert files(album.parent / "alone")["b.png"] == files(album.parent / "out")["b.png"]


def test_seed_and_name_matter(album: Path) -> None:
    protect(album)
    protect(album, "other", "seed=1")
    assert files(album.parent / "out")["a.png"] != files(album.parent / "other")["a.png"]


def test_finished_copies_are_not_made_again(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    protect(album)
    out = album.parent / "out"
    before = files(out)
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "protect_faces", None)  # would fail when called
        outcome = protect(album)
    assert (outcome.protected, outcome.reused) == (4, 4)
    assert files(out) == before
    (out / "a.png").unlink()
    assert protect(album).reused == 3
    assert files(out) == before


def test_another_judge_looks_again_at_the_same_copies(album: Path) -> None:
    protect(album)
    before = files(album.parent / "out")["a.png"]
    outcome = protect(album, "out", "model@target=tiny2")
    assert not outcome.problems
    assert files(album.parent / "out")["a.png"] == before
    assert rows(album.parent / "out")["cosine_photo_tiny2"].notna().all()


def test_softened_surrogates_see_the_blurred_crop_and_make_another_change(album: Path) -> None:
    protect(album)
    protect(album, "sharp", "soften_surrogates=false")
    assert files(album.parent / "out")["a.png"] != files(album.parent / "sharp")["a.png"]
    sharp = tiny("one", 1, "family")
    images = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    blurred = torch.nn.functional.pad(images, (1, 1, 1, 1), mode="replicate")
    for axis in (2, 3):
        length = blurred.shape[axis] - 2
        left, middle, right = (blurred.narrow(axis, start, length) for start in range(3))
        blurred = (left + 2 * middle + right) / 4
    assert torch.allclose(Softened(sharp).embed(images), sharp.embed(blurred), atol=1e-6)
    assert not torch.allclose(sharp.embed(images), sharp.embed(blurred), atol=1e-3)


def test_copies_of_other_settings_are_replaced_only_when_asked(album: Path) -> None:
    protect(album)
    before = files(album.parent / "out")["a.png"]
    outcome = protect(album, "out", "method.epsilon_255=4")
    assert len(outcome.problems) == 4
    assert all("overwrite=true" in problem for problem in outcome.problems)
    assert files(album.parent / "out")["a.png"] == before
    assert not protect(album, "out", "method.epsilon_255=4", "overwrite=true").problems
    assert rows(album.parent / "out")["max_change_255"].max() <= 4


@pytest.mark.parametrize("method", ["pgd", "opom_convex_hull"])
@pytest.mark.parametrize("moment", ["protect_faces", "encode", "commit"])
def test_an_interrupted_run_leaves_no_half_file_and_the_next_ends_the_same(
    album: Path, monkeypatch: pytest.MonkeyPatch, method: str, moment: str
) -> None:
    more = (f"method={method}", "method.steps=3")
    protect(album, "whole", *more)
    calls = 0

    def interrupting(wanted: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == (2 if moment != "protect_faces" or method == "pgd" else 1):
                raise KeyboardInterrupt
            return wanted(*arguments, **named)

        return call

    with monkeypatch.context() as patch:
        owner: Any = run_module.Ledger if moment == "commit" else run_module
        name = "_move" if moment == "commit" else moment
        patch.setattr(owner, name, interrupting(getattr(owner, name)))
        with pytest.raises(KeyboardInterrupt):
            protect(album, "out", *more)
    out = album.parent / "out"
    whole = files(album.parent / "whole")
    left = files(out)
    assert "report.csv" not in left
    assert all(whole[name] == content for name, content in left.items())
    outcome = protect(album, "out", *more)
    assert not outcome.problems
    assert files(out) == whole
    assert not list((out / ".cloakbench").glob("*.tmp"))


def test_a_damaged_note_only_costs_the_work_again(album: Path) -> None:
    protect(album)
    before = files(album.parent / "out")
    for note in (album.parent / "out" / ".cloakbench").glob("*.json"):
        note.write_text(note.read_text()[:40])
    outcome = protect(album, "out", "overwrite=true")
    assert (outcome.protected, outcome.reused) == (4, 0)
    assert files(album.parent / "out") == before


def test_masks_per_person_come_from_the_references(album: Path) -> None:
    more = ("method=opom_convex_hull", "method.steps=3", "max_references=2")
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
    more = ("method=fgsm", "method.objective=target")
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
    outcome = protect(album, "out", "method=fgsm", "method.objective=target", *more)
    assert not outcome.problems
    assert any("rendered faces" in warning for warning in outcome.warnings)


class TwoFaces:
    """Finds the same two faces in every photo."""

    points = torch.stack([TEMPLATE + torch.tensor([5.0, 10.0]), TEMPLATE * 1.1 + torch.tensor([75.0, 40.0])])

    def fingerprint(self) -> str:
        return "two faces"

    def detect(self, images: Sequence[Tensor]) -> list[Detection]:
        low, high = self.points.amin(1) - 15, self.points.amax(1) + 15
        boxes = torch.cat([low, high], 1)
        return [Detection(boxes.flip(0), self.points.flip(0), torch.ones(2)) for _ in images]


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


def test_a_method_has_to_be_chosen(album: Path) -> None:
    with pytest.raises(ConfigError, match="method=NAME"):
        main([f"input={album}", "output=out"])


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["input=nowhere"], "there is no file or folder nowhere"),
        (["input=BASE/empty"], "holds no photo"),
        (["output=BASE/album/out"], "lie in one another"),
        (["output=BASE/album"], "lie in one another"),
        (["output=BASE"], "lie in one another"),
        (["output=BASE/points.csv"], "is a file"),
        (["output=BASE/points.csv/out"], "cannot write to"),
        (["input=BASE/album/a.png", "output=BASE/album"], "the photo's own folder"),
        (["method=precomputed"], "method.folder"),
        (["faces=all", "method=opom_convex_hull"], "faces=main"),
        (["faces=all", "method.objective=reference"], "faces=main"),
        (["faces=every"], "faces must be main or all"),
        (["format=gif"], "format must be png or jpeg"),
        (["metadata=some"], "metadata must be strip or keep"),
        (["max_references=0"], "max_references"),
        (["references=BASE/empty", "method=opom_convex_hull"], "holds no photo"),
        (["overwite=true"], "did you mean 'overwrite'"),
        (["model@surrogate=mobilefacenet_y1"], "no weight file"),
    ],
)
def test_a_mistake_is_one_line_with_the_remedy(
    album: Path, more: list[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOAKBENCH_WEIGHTS", str(album.parent / "weights"))
    (album.parent / "empty").mkdir()
    replaced = [word.replace("BASE", str(album.parent)) for word in more]
    with pytest.raises(ValueError, match=r".") as caught:
        main([*words(album, "out", *replaced), "--config-dir", CONFIG_DIR])
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_runs_do_not_share_an_output_folder(album: Path) -> None:
    with run_module.open_ledger(album.parent / "out"), pytest.raises(ConfigError, match="another process"):
        protect(album)


def test_names_that_differ_only_in_case_clash() -> None:
    photos = [Photo(name, Path(name), Path(name).with_suffix(".png")) for name in ("A.jpg", "a.JPG", "b.jpg", "b.nef")]
    assert set(clashing(photos)) == {"A.jpg", "a.JPG"}


def test_the_notes_in_the_output_folder_hold_no_path_of_the_machine(album: Path) -> None:
    protect(album)
    notes = list((album.parent / "out" / ".cloakbench").glob("*.json"))
    assert len(notes) == 4
    for content in (*(note.read_text() for note in notes), (album.parent / "out" / "report.md").read_text()):
        assert str(album.parent) not in content
    assert json.loads(notes[0].read_text())["rows"]


@requires_pack
def test_raw_photographs_keep_their_background_to_the_last_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The promise of the command, on photographs of three people with a public recogniser and our own detector."""
    pytest.importorskip("facenet_pytorch")
    monkeypatch.setenv("CLOAKBENCH_WEIGHTS", str(PACK / "weights"))
    people = ("hires_01", "Norah_Jones", "orl_s03")
    for person in people:
        for path in sorted((PACK / "faces" / person).iterdir())[:2]:
            (tmp_path / "photos" / person).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, tmp_path / "photos" / person)
    more = ["model@surrogate=mobilefacenet_y1", "model@target=mobilefacenet_casia", "method=pgd", "method.steps=5"]
    config = compose_config([f"input={tmp_path}/photos", f"output={tmp_path}/out", *more], config_name="protect")
    settings = read_settings(config)
    outcome = run_protect(settings)
    assert not outcome.problems
    table = rows(tmp_path / "out")
    for name, row in table.iterrows():
        original, copy = pixels(tmp_path / "photos" / str(name)), pixels(tmp_path / "out" / row["output"])
        [face] = settings.finder.open(tmp_path / "photos" / str(name)).faces
        left, top, right, bottom = crop_box(face.matrix, *original.shape[1:])
        change = (copy.short() - original.short()).abs()
        assert 4 <= change.max() <= 8
        change[:, top:bottom, left:right] = 0
        assert not change.any()
        assert (right - left) * (bottom - top) < 0.7 * original[0].numel() or "orl" in str(name)
    assert (table["cosine_photo_mobilefacenet_y1"] < 0.35).all()
    assert (table["cosine_photo_mobilefacenet_casia"] < 0.9).all()
    assert io.StringIO((tmp_path / "out" / "report.md").read_text()).readline() == "# Protected photos\n"
