"""Methods that hide faces from eyes, from file to file: full photos, their keys, and words that make no sense."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from albums import pixels, protect, save_photo, settings_of, write_points
from keyed_albums import recover, table

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.protect.blurred import BlurredRecogniser
from cloakbench.bench.protect.inputs import MethodInputs, _context
from cloakbench.models.base import Recogniser

VEIL = ("method=veil", "method.steps=3")
AVIH = ("method=avih", "method.steps=3", "method.training_steps=2", "method.batch=2", "auxiliary=BASE/people")
RIC = ("method=ric", "method.cover_steps=2", "method.training_steps=2", "method.batch=2", "auxiliary=BASE/people")


def hidden(album: Path, *more: str) -> Path:
    outcome = protect(album, "out", *more, f"keys={album.parent / 'keys'}")
    assert not outcome.problems
    return album.parent / "out"


@pytest.mark.parametrize(
    ("method", "least_db"),
    [
        (VEIL, 44),
        (("method=v_uap", "method.steps=3"), 44),
        (AVIH, 3),
        (RIC, 3),
    ],
    ids=["veil", "v_uap", "avih", "ric"],
)
def test_full_photos_are_hidden_and_come_back(album: Path, method: tuple[str, ...], least_db: float) -> None:
    (album / "c.png").unlink()
    shutil.rmtree(album / "trip")
    names = [f"{person}/1.png" for person in ("x", "y")]
    for seed, name in enumerate(names, start=20):
        save_photo(album.parent / "people" / name, seed)
    write_points(album.parent / "points.csv", ["album/a.png", "album/b.jpg", *(f"people/{name}" for name in names)])
    out = hidden(album, *(word.replace("BASE", str(album.parent)) for word in method), "format=png")
    before, veiled = pixels(album / "a.png").short(), pixels(out / "a.png").short()
    assert recover(out, album.parent / "back", album.parent / "keys", f"originals={album}") == 0
    after = pixels(album.parent / "back" / "a.png").short()
    changed = (veiled != before).any(0)
    assert 0.2 < float(changed.float().mean()) < 0.6 and (after[:, ~changed] == before[:, ~changed]).all()
    assert (table(album.parent / "back")["psnr_db"].astype(float) > least_db).all()
    if least_db == 44:
        assert int((after - before).abs().max()) <= 3


def test_the_lossy_format_is_stated_and_not_refused(album: Path) -> None:
    out = hidden(album, *VEIL, "format=jpeg")
    notes = table(out)["notes"]
    assert notes.str.match(
        r".*its key gives the faces back at \d+\.\d dB, since files of its type lose something"
    ).all()
    assert notes.str.contains("format=png does not").all()
    assert recover(out, album.parent / "back", album.parent / "keys") == 0


def test_a_veil_of_one_reference_is_made_and_told(album: Path) -> None:
    references = album.parent / "references"
    save_photo(references / "r.png", 7)
    write_points(album.parent / "points.csv", ["album/a.png", "references/r.png"])
    for name in ("b.jpg", "c.png"):
        (album / name).unlink()
    shutil.rmtree(album / "trip")
    outcome = protect(album, "out", *VEIL, f"references={references}", f"keys={album.parent / 'keys'}")
    assert not outcome.problems
    [told] = [warning for warning in outcome.warnings if "one photo alone" in warning]
    assert told.endswith("name a folder of more with references=FOLDER.") and "\n" not in told
    assert recover(album.parent / "out", album.parent / "back", album.parent / "keys") == 0


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (("method.alpha=0",), r"^veil gives no photo back at alpha 0, only between 0 and 1: leave keys out"),
        (("method.alpha=1",), r"^veil gives no photo back at alpha 1, only between 0 and 1: leave keys out"),
        (("method.alpha=1.5",), r"^method.alpha is 1.5: it must be a number from 0 to 1$"),
        (("method.steps=0",), r"^method.steps is 0: it must be a whole number of at least 1$"),
        (("model@surrogate=detached",), r"^detached gives no gradient: choose a surrogate whose embed is different"),
        (("surrogate=null",), r"^veil needs a recogniser to work against: name one with model@surrogate=NAME$"),
        (("references=BASE/empty",), r"empty holds no photo"),
        (("seed=-1",), r"^seed is -1: it must be a whole number of at least 0, or null$"),
        (("keys=BASE/out",), r"lies in output=.*, which may be published: choose another folder$"),
        (("keys=BASE/points.csv",), r"^cannot write keys to .*points.csv"),
    ],
)
def test_what_makes_no_sense_is_one_line(album: Path, more: tuple[str, ...], expected: str) -> None:
    (album.parent / "empty").mkdir()
    replaced = [word.replace("BASE", str(album.parent)) for word in more]
    keys = () if any(word.startswith("keys=") for word in more) else (f"keys={album.parent / 'keys'}",)
    with pytest.raises(ValueError, match=expected) as caught:
        protect(album, "out", *VEIL, *keys, *replaced)
    assert "\n" not in str(caught.value)
    assert not list((album.parent / "out").glob("*.png"))


def test_photos_without_a_face_stay_behind_and_the_others_are_hidden(album: Path) -> None:
    write_points(album.parent / "points.csv", ["album/a.png", "album/b.jpg"])
    outcome = protect(album, "out", *VEIL, f"keys={album.parent / 'keys'}")
    told = [problem.split(": ")[:2] for problem in outcome.problems]
    assert told == [["c.png", "no_face"], ["trip/d.png", "no_face"]]
    assert {path.name for path in (album.parent / "keys").glob("*.json")} == {"a.png.json", "b.jpg.json"}
    save_photo(album.parent / "elsewhere.png", 3)
    write_points(album.parent / "points.csv", ["elsewhere.png"])
    with pytest.raises(ConfigError, match="holds no usable photo to learn from: name others with references=FOLDER"):
        protect(album, "none", *VEIL, f"keys={album.parent / 'keys'}")


def test_methods_that_hide_see_their_surrogate_sharp_and_softened_and_others_softened_alone(album: Path) -> None:
    """So a veil differs from the one that either alone gives, and costs two networks."""
    made = []
    for word in ("soften_surrogates=true", "soften_surrogates=false"):
        settings = settings_of(album, *VEIL, f"keys={album.parent / 'keys'}", word)
        seen = _context(settings, MethodInputs()).surrogates
        made.append([type(one.model) for one in seen])
    assert made == [[Recogniser, BlurredRecogniser], [Recogniser]]
    [alone] = _context(settings_of(album), MethodInputs()).surrogates
    assert type(alone.model) is BlurredRecogniser
    outcome = protect(album, "out", *VEIL, f"keys={album.parent / 'keys'}")
    assert not outcome.problems
    assert "sharp and softened to outlast" in (album.parent / "out" / "report.md").read_text()
