"""Keys of an owner: drawn from a secret that nobody else has, kept whatever happens, and right or refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from albums import files, pixels, protect, save_photo, write_points
from keyed_albums import hide, note_of, recover, rewrite, table, veil_in
from PIL import Image
from veils import KEY, veils_of

from cloakbench.bench.config.checks.setting_checks import check_settings
from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.protect import recover as recover_module
from cloakbench.bench.protect import run as run_module
from cloakbench.bench.protect.keys.folder import KeyFolder


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def secret_of(folder: Path) -> int:
    secret, fresh = KeyFolder(folder).secret()
    assert not fresh
    return secret


def test_two_owners_have_secrets_of_their_own_and_one_has_the_same_again(album: Path, keys: Path) -> None:
    first = hide(album)
    before = files(first)
    hide(album, "other", keys="others")
    assert secret_of(keys) != secret_of(album.parent / "others")
    assert not torch.allclose(veil_in(keys), veil_in(album.parent / "others"), atol=0.1)
    assert torch.equal(veil_in(keys), veils_of(("owner",), 112, secret_of(keys))[0])
    hide(album, "again")
    (first / "a.png").unlink()
    hide(album)
    assert files(first) == before == files(album.parent / "again")


def test_the_secret_lies_with_the_keys_and_nowhere_else(
    album: Path, keys: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    out = hide(album)
    secret = str(secret_of(keys))
    assert len(secret) > 30
    assert [path.name for path in keys.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()] == [
        "owner.secret"
    ]
    for path in (path for one in (out, album.parent / "results") for path in one.rglob("*") if path.is_file()):
        assert secret.encode() not in path.read_bytes(), path
    assert secret not in caplog.text and "keys come from a secret number, drawn now and kept in" in caplog.text
    assert "seed secret, kept with the keys" in (out / "report.md").read_text()


def test_a_given_seed_is_used_and_warned_about(album: Path, keys: Path) -> None:
    outcome = protect(album, "out", "method=keyed_blend", f"keys={keys}", "seed=7")
    assert any("The seed was given: whoever guesses it" in warning for warning in outcome.warnings)
    assert torch.equal(veil_in(keys), veils_of(("owner",), 112, 7)[0]) and not (keys / "owner.secret").exists()
    assert "seed given" in (album.parent / "out" / "report.md").read_text()
    assert not any("seed" in warning for warning in protect(album, "plain", "seed=7").warnings)


def test_without_a_seed_other_methods_keep_theirs_and_experiments_want_one(album: Path) -> None:
    protect(album)
    protect(album, "zero", "seed=0")
    assert "seed 0" in (album.parent / "out" / "report.md").read_text()
    assert files(album.parent / "out") == files(album.parent / "zero")
    with pytest.raises(ConfigError, match=r"^seed is null: it must be a whole number of at least 0$"):
        check_settings(compose_config(["experiment=smoke", "seed=null"]))


def test_a_damaged_secret_is_named_and_never_replaced(album: Path, keys: Path) -> None:
    out = hide(album)
    place = keys / "owner.secret"
    place.write_bytes(content := place.read_bytes()[:-9] + b"123456789")
    with pytest.raises(ConfigError, match=r"owner.secret in .* is damaged: put back a copy of it") as caught:
        hide(album)
    assert "\n" not in str(caught.value) and place.read_bytes() == content
    assert recover(out, album.parent / "back", keys) == 0


def test_a_copy_whose_key_is_gone_is_made_again_from_the_secret_or_with_another_when_asked(
    album: Path, keys: Path
) -> None:
    out = hide(album)
    before = files(out)
    secret = (keys / "owner.secret").read_bytes()
    shutil.rmtree(keys)
    keys.mkdir(mode=0o700)
    (keys / "owner.secret").write_bytes(secret)
    hide(album)
    assert files(out) == before
    assert recover(out, album.parent / "back", keys) == 0
    shutil.rmtree(keys)
    outcome = protect(album, "out", "method=keyed_blend", f"keys={keys}")
    assert len(outcome.problems) == 4 and "overwrite=true" in outcome.problems[0]
    hide(album, "out", "overwrite=true")
    assert recover(out, album.parent / "anew", keys) == 0


def test_copies_that_were_replaced_still_come_back(album: Path, keys: Path) -> None:
    """They may be published; another person's photos of the same names have notes of their own, too."""
    shutil.copytree(hide(album), album.parent / "published")
    hide(album, "out", "method.alpha=0.5", "overwrite=true")
    strangers = album.parent / "strangers"
    save_photo(strangers / "a.png", 9)
    write_points(album.parent / "points.csv", ["strangers/a.png"])
    hide(strangers, "third")
    for number, folder in enumerate(("published", "out", "third")):
        assert recover(album.parent / folder, album.parent / f"back{number}", keys) == 0
    assert float(table(album.parent / "back1").loc["a.png", "psnr_db"]) > float(
        table(album.parent / "back0").loc["a.png", "psnr_db"]
    )
    original, back = pixels(strangers / "a.png").short(), pixels(album.parent / "back2" / "a.png").short()
    assert int((original - back).abs().max()) <= 3
    Image.open(album.parent / "published" / "a.png").save(album.parent / "published" / "a.png", "JPEG", quality=90)
    assert recover(album.parent / "published", album.parent / "later", keys) == 0


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_copies_at_another_alpha_are_refused_be_they_saved_again(album: Path, keys: Path, ending: str) -> None:
    hide(album, "out", "seed=7", "format=png")
    for alpha, word in ((0.15, "it shows less of"), (0.25, "it shows more of"), (0.6, "it shows more of|or edited")):
        other = hide(album, f"at{alpha}", "seed=7", f"method.alpha={alpha}", "format=png", keys="others")
        if ending == "jpg":
            for path in [*other.glob("*.png"), other / "trip" / "d.png"]:
                Image.open(path).convert("RGB").save(path, "JPEG", quality=90)
        back = album.parent / f"back{alpha}"
        assert recover(other, back, keys) == 1
        found = table(back)
        found = found[found["notes"].str.contains("key")]
        assert len(found) == 4 and set(found["status"]) == {"not_recovered"}
        assert found["notes"].str.contains(word).all()
        assert not list(back.rglob("*.png"))


def test_copies_of_another_person_are_refused(album: Path, keys: Path) -> None:
    hide(album)
    other = hide(album, "theirs", keys="theirs_keys")
    assert recover(other, album.parent / "back", keys) == 1
    found = table(album.parent / "back")
    assert found["notes"].str.contains("it is not the photo that this key is for, but another person's").all()
    assert recover(other, album.parent / "forced", keys, "force=true", f"originals={album}") == 0
    published = pixels(album / "a.png").float() - pixels(other / "a.png").float()
    forced = pixels(album / "a.png").float() - pixels(album.parent / "forced" / "a.png").float()
    assert forced.square().mean() >= published.square().mean()  # another person's key brings nothing nearer


def test_a_note_that_was_changed_or_cut_is_named(album: Path, keys: Path) -> None:
    out = hide(album)
    note = keys / "a.png.json"
    note.write_bytes(note.read_bytes().replace(b'"alpha": 0.2', b'"alpha": 0.3'))
    (keys / "b.jpg.json").write_bytes((keys / "b.jpg.json").read_bytes()[:100])
    rewrite(keys, "c.png", matrices=[])
    rewrite(keys, "trip/d.png", settings={"alpha": 0.3})
    assert recover(out, album.parent / "back", keys) == 1
    notes = table(album.parent / "back")["notes"]
    assert (
        notes["a.png"].startswith("a.png.json in") and "is damaged, or was changed: put back a copy" in notes["a.png"]
    )
    assert "is damaged" in notes["b.jpg"]
    assert "does not say where its crops lie: protect the photo again" in notes["c.png"]
    assert "its key gives another photo back than when it was made" in notes["trip/d.png"]


def test_a_key_that_is_gone_damaged_or_of_another_size_is_named(album: Path, keys: Path) -> None:
    out, folder = hide(album), KeyFolder(keys)
    small = folder.put_keys({KEY: torch.zeros(1, 3, 56, 56)})
    rewrite(keys, "a.png", key=small)
    strange = folder.put_keys({"cover": torch.zeros(1, 3, 112, 112)})
    rewrite(keys, "b.jpg", key=strange)
    rewrite(keys, "c.png", key=folder.put_keys({KEY: veils_of(("stranger",), 112, 0)}))
    [own] = [path for path in (keys / "keys").iterdir() if path.stem == note_of(keys, "trip/d.png").key]
    own.write_bytes(content := own.read_bytes()[:-1] + b"!")
    assert recover(out, album.parent / "back", keys) == 1
    notes = table(album.parent / "back")["notes"]
    assert "keyed_blend: keys of (3, 56, 56) for photos of (3, 112, 112)" in notes["a.png"]
    assert "KeyError" in notes["b.jpg"]
    assert "its key gives another photo back" in notes["c.png"]
    assert f"{own.relative_to(keys)} in {keys} is damaged" in notes["trip/d.png"] and own.read_bytes() == content
    own.unlink()
    assert recover(out, album.parent / "gone", keys) == 1
    assert "without it the photo stays as it is" in table(album.parent / "gone").loc["trip/d.png", "notes"]


def test_copies_that_were_changed_since_are_named(album: Path, keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = hide(album, "out", "format=png")
    Image.open(out / "b.png").resize((115, 95)).save(out / "b.png")
    edited = Image.open(out / "c.png")
    edited.paste((0, 0, 0), (80, 60, 160, 140))
    edited.save(out / "c.png")
    (out / "strange.png").write_bytes((out / "a.png").read_bytes())
    shutil.copy(out / "trip" / "d.png", out / "a.png")
    (keys / "trip" / "d.png.json").chmod(0o644)
    assert recover(out, album.parent / "back", keys) == 1
    said = capsys.readouterr().err
    assert f"strange.png: {keys} has no key of it" in said
    assert "b.png: it is 115 x 95 pixels, and its key is for 230 x 190: take the file as it was published" in said
    assert "c.png: it is not the photo that this key is for" in said and "or edited" in said
    report = (album.parent / "back" / "report.md").read_text()
    assert "others than you may read 1 files of" in report and "chmod -R go=" in report
    assert table(album.parent / "back").loc["trip/d.png", "status"] == "ok"


def test_a_copy_that_was_saved_again_comes_back_as_well_as_it_can(album: Path, keys: Path) -> None:
    out, again = hide(album), album.parent / "again"
    again.mkdir()
    Image.open(out / "a.png").save(again / "a.png", quality=75, format="JPEG")
    assert recover(again, album.parent / "one", keys) == 0
    assert table(album.parent / "one").loc["a.png", "psnr_db"] == "unknown"
    assert recover(again, album.parent / "two", keys, f"originals={album}") == 0
    row = table(album.parent / "two").loc["a.png"]
    assert float(row["psnr_db"]) < 40 and "saved again" in row["notes"]


def test_key_files_run_no_code(album: Path, keys: Path) -> None:
    out = hide(album)
    for strange in ({"method": "keyed_blend,x=1"}, {"settings": {"_target_": "os.system", "alpha": 0.2, "x": 1}}):
        rewrite(keys, "a.png", **strange)
        assert recover(out, album.parent / "back", keys, "overwrite=true") == 1
        told = table(album.parent / "back").loc["a.png", "notes"]
        assert "is no name of a method" in told or "with a setting x" in told


@pytest.mark.parametrize("moment", ["put_keys", "put", "commit"])
def test_an_interrupted_run_keeps_keys_and_copies_and_the_next_ends_the_same(
    album: Path, keys: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    before = files(hide(album))
    later = ("out", "method.alpha=0.5", "overwrite=true")
    calls = 0

    def interrupting(wanted: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise KeyboardInterrupt
            return wanted(*arguments, **named)

        return call

    with monkeypatch.context() as patch:
        owner: Any = run_module.FinishedCopies if moment == "commit" else KeyFolder
        name = "_move" if moment == "commit" else moment
        patch.setattr(owner, name, interrupting(getattr(owner, name)))
        with pytest.raises(KeyboardInterrupt):
            hide(album, *later)
    left = files(album.parent / "out")
    assert left["a.png"] != before["a.png"] and left["c.png"] == before["c.png"]
    assert recover(album.parent / "out", album.parent / "between", keys) == 0  # old copies and new ones
    hide(album, *later)
    hide(album, "whole", "method.alpha=0.5")
    names = ("a.png", "b.jpg", "c.png", "trip/d.png")
    ended, whole = files(album.parent / "out"), files(album.parent / "whole")
    assert [ended[name] for name in names] == [whole[name] for name in names]
    assert not list(keys.rglob(".writing-*"))


def test_an_interrupted_recovery_goes_on_and_what_is_there_stays(
    album: Path, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, back = hide(album), album.parent / "back"
    assert recover(out, album.parent / "whole", keys) == 0
    with monkeypatch.context() as patch:
        saved = recover_module._save
        calls = []

        def save(*arguments: Any) -> None:
            calls.append(arguments)
            if len(calls) == 3:
                raise KeyboardInterrupt
            saved(*arguments)

        patch.setattr(recover_module, "_save", save)
        with pytest.raises(KeyboardInterrupt):
            recover(out, back, keys)
    assert set(files(back)) == {"a.png", "b.png"}
    assert recover(out, back, keys) == 0
    assert files(back) == files(album.parent / "whole")
    (back / "a.png").write_bytes(b"mine")
    assert recover(out, back, keys) == 1
    assert "a.png is there already: set overwrite=true or another output" in table(back).loc["a.png", "notes"]
    assert (back / "a.png").read_bytes() == b"mine"
