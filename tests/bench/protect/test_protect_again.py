"""A second run, an interrupted one and two at once: nothing is done twice, nothing is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from albums import (
    files,
    protect,
    rows,
)
from cloakbench_test_plugins import tiny

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.protect import run as run_module
from cloakbench.bench.protect.blurred import BlurredRecogniser


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
    assert torch.allclose(BlurredRecogniser(sharp).embed(images), sharp.embed(blurred), atol=1e-6)
    assert not torch.allclose(sharp.embed(images), sharp.embed(blurred), atol=1e-3)


def test_copies_of_other_settings_are_replaced_only_when_asked(album: Path) -> None:
    protect(album)
    before = files(album.parent / "out")["a.png"]
    outcome = protect(album, "out", "method.epsilon_255=4", "format=png")
    assert len(outcome.problems) == 3  # b.jpg is called b.png now
    assert all("overwrite=true" in problem for problem in outcome.problems)
    assert files(album.parent / "out")["a.png"] == before
    assert not protect(album, "out", "method.epsilon_255=4", "format=png", "overwrite=true").problems
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
        owner: Any = run_module.FinishedCopies if moment == "commit" else run_module
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


def test_two_runs_do_not_share_an_output_folder(album: Path) -> None:
    with run_module.open_copies(album.parent / "out"), pytest.raises(ConfigError, match="another process"):
        protect(album)
