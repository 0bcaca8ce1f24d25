"""Wrong words and clashing names: one line that names the remedy; notes that name no machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from albums import CONFIG_DIR, protect, words

from cloakbench.bench.cli.protect import main
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.protect.discover import Photo, clashing


def test_a_method_has_to_be_chosen(album: Path) -> None:
    with pytest.raises(ConfigError, match="method=NAME"):
        main([f"input={album}", "output=out"])


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["input=nowhere"], "there is no file or folder nowhere"),
        (["input=BASE/empty"], "holds no photo"),
        (["output=null"], "set output=FOLDER"),
        (["output=BASE/album/out"], "lie in one another"),
        (["output=BASE/album"], "lie in one another"),
        (["output=BASE"], "lie in one another"),
        (["output=BASE/points.csv"], "is a file"),
        (["output=BASE/points.csv/out"], "cannot write to"),
        (["input=BASE/album/a.png", "output=BASE/album"], "the photo's own folder"),
        (["method=precomputed"], "method.folder"),
        (["faces=all", "method=opom_convex_hull"], "faces=main"),
        (["faces=all", "method.objective=reference"], "faces=main"),
        (["faces=every"], "faces is every: it must be one of main, all"),
        (["format=gif"], "format is gif: it must be one of same, png, jpeg"),
        (["metadata=some"], "metadata is some: it must be one of strip, keep"),
        (["force=1"], "force is 1: it must be true or false"),
        (["impostors=null"], "impostors is null: it must be a block with _target_"),
        (["detector.thresholds=[1]"], "detector.thresholds is [1]: it must be a list of three numbers"),
        (["max_references=0"], "max_references"),
        (["references=BASE/empty", "method=opom_convex_hull"], "holds no photo"),
        (["surrogate=null"], "pgd needs a recogniser to work against: name one with model@surrogate=NAME"),
        (["method.epsilon_255=0", "force=false"], "has a budget of 0 and changes nothing: set method.epsilon_255=8"),
        (
            ["method=keeps_key"],
            "keeps_key gives owners a key that lifts its protection, which is not kept",
        ),
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


def test_names_that_differ_only_in_case_clash() -> None:
    photos = [Photo(name, Path(name), Path(name).with_suffix(".png")) for name in ("A.jpg", "a.JPG", "b.jpg", "b.nef")]
    assert set(clashing(photos)) == {"A.jpg", "a.JPG"}


def test_the_notes_in_the_output_folder_hold_no_path_of_the_machine(album: Path) -> None:
    protect(album)
    notes = sorted((album.parent / "out" / ".cloakbench").glob("*.json"))
    assert len(notes) == 5  # one of them on the report
    for content in (*(note.read_text() for note in notes), (album.parent / "out" / "report.md").read_text()):
        assert str(album.parent) not in content
    assert json.loads(notes[0].read_text())["rows"]
