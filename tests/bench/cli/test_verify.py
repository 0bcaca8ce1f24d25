"""``cloakbench verify`` on a planted list: the right pairs, each failed photo counted, nothing computed twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from cloakbench.bench.cli import verify
from cloakbench.bench.recognisers.labelled_pairs import drawn_pairs, listed_pairs
from cloakbench.bench.recognisers.pair_rates import area_under_curve
from cloakbench.bench.recognisers.session import compose_one_model
from cloakbench.bench.store import embeddings
from cloakbench.datasets.base import FaceSet
from cloakbench.datasets.synthetic.world import SyntheticWorld

SUPPORT = Path(__file__).parents[2] / "support" / "conf"
PEOPLE, PHOTOS = 22, 3


@pytest.fixture(scope="module")
def faces(faces_cache: Path) -> FaceSet:
    none = {"references_per_identity": 0, "distractors": 0, "auxiliary_identities": 0, "impostor_identities": 0}
    return SyntheticWorld(identities=PEOPLE, probes_per_identity=PHOTOS, cache=faces_cache, **none).faces("probe")


@pytest.fixture
def photos(faces: FaceSet, tmp_path: Path) -> Path:
    """``root/<person>/<n>.png`` and ``pairs.csv``: all pairs of a person, and as many of neighbours; two sets."""
    root = tmp_path / "photos"
    for row, image in enumerate(faces.images):
        path = root / f"p{row // PHOTOS:02d}" / f"{row % PHOTOS}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    rows = []
    for person in range(PEOPLE):
        for a, b in ((0, 1), (0, 2), (1, 2)):
            kind = "even" if person % 2 == 0 else "odd"
            other = (person + 2) % PEOPLE
            rows.append((f"p{person:02d}/{a}.png", f"p{person:02d}/{b}.png", 1, kind))
            rows.append((f"p{person:02d}/{a}.png", f"p{other:02d}/{b}.png", 0, kind))
    pd.DataFrame(rows, columns=["file_a", "file_b", "same", "set"]).to_csv(root / "pairs.csv", index=False)
    return root


@pytest.fixture
def words(photos: Path, tmp_path: Path) -> list[str]:
    folder = ["dataset=folder", f"dataset.root={photos}", "dataset.aligned=true", f"pairs={photos / 'pairs.csv'}"]
    return ["model=cosface_ir", *folder, f"paths.results={tmp_path}/results", "statistics.resamples=50"]


def result(tmp_path: Path) -> tuple[dict[str, Any], Path]:
    [folder] = (tmp_path / "results" / "verify").iterdir()
    return json.loads((folder / "verification.json").read_text(encoding="utf-8")), folder


def rates(about: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["metric"]: row for row in about["rates"]}


def test_a_list_of_sound_photos(
    words: list[str], faces: FaceSet, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # so that no sentence in the table is folded
    assert verify.main(words) == 0
    about, folder = result(tmp_path)
    assert (about["n_pairs"], about["n_pairs_without_score"], about["photos"]) == (132, 0, {"ok": 66})
    assert about["pairs"] == "pairs.csv, 10 folds by order"
    embedded = compose_one_model(["model=cosface_ir"], "verify").model.embed(faces.images.float() / 255)
    pairs = pd.read_csv(folder / "pairs.csv")
    for row in pairs.sample(10, random_state=0).to_dict("records"):
        a, b = (PHOTOS * int(name[1:3]) + int(name[4]) for name in (row["left"], row["right"]))
        assert row["cosine"] == pytest.approx(float(embedded[a] @ embedded[b]), abs=1e-5)
    same = pairs["same"] == 1
    auc = area_under_curve(pairs["cosine"][same].to_numpy(), pairs["cosine"][~same].to_numpy())
    assert rates(about)["auc"]["value"] == pytest.approx(auc)
    assert auc > 0.98
    assert pd.read_csv(folder / "photos.csv").empty
    shown = capsys.readouterr().out
    assert f"{auc:.5f}" in shown
    assert "66 different pairs, a" in shown, "a rate that the list is too short for says so"


def test_where_takes_some_rows(words: list[str], tmp_path: Path) -> None:
    assert verify.main([*words, "where={set: odd}"]) == 0
    about, _ = result(tmp_path)
    assert (about["n_pairs"], about["photos"]) == (66, {"ok": 33})
    assert about["pairs"] == "pairs.csv, set odd, 10 folds by order"


def test_photos_that_fail_are_counted_and_never_a_number(
    words: list[str], photos: Path, tmp_path: Path, capsys: Any
) -> None:
    (photos / "p00" / "0.png").unlink()
    (photos / "p03" / "1.png").write_text("not a photo", encoding="utf-8")
    assert verify.main(words) == 1
    about, folder = result(tmp_path)
    assert about["photos"] == {"ok": 64, "unreadable": 2}
    lost = pd.read_csv(folder / "pairs.csv").query("left_status != 'ok' or right_status != 'ok'")
    assert lost["cosine"].isna().all()
    assert about["n_pairs_without_score"] == len(lost) > 4
    found = rates(about)
    assert found["accuracy"]["n"] == 132 - len(lost)
    assert found["accuracy_failed_wrong"]["n"] == 132
    assert found["accuracy_failed_wrong"]["value"] < found["accuracy"]["value"]
    assert set(pd.read_csv(folder / "photos.csv")["photo"]) == {"p00/0.png", "p03/1.png"}
    assert "'unreadable': 2" in capsys.readouterr().out


def test_pairs_that_say_nothing_are_left_out_counted_and_named(
    words: list[str], photos: Path, tmp_path: Path, capsys: Any
) -> None:
    table = photos / "pairs.csv"
    more = ["p00/0.png,p00/0.png,1,even", "p00/1.png,p00/0.png,1,even", "p00/2.png,p00/1.png,0,even"]
    table.write_text(table.read_text(encoding="utf-8") + "\n".join(more) + "\n", encoding="utf-8")
    assert verify.main(words) == 0
    about, folder = result(tmp_path)
    assert about["n_pairs"] == 131, "one of 132 is contradicted"
    assert about["n_pairs_left_out"] == {"contradictory": 2, "with_itself": 1, "repeated": 1}
    named = pd.read_csv(folder / "left_out.csv")
    assert named["why"].tolist() == ["contradictory", "with_itself", "repeated", "contradictory"]
    said = capsys.readouterr().out
    assert "Left out, listed as the same person and as two people: 2, the first is p00/1.png and p00/2.png" in said
    assert "Left out, a photo with itself: 1, the first is p00/0.png and p00/0.png" in said
    assert "Left out, listed before: 1" in said


def test_the_second_call_embeds_nothing_and_writes_the_same_bytes(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify.main(words)
    _, folder = result(tmp_path)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(embeddings, "embed_in_batches", lambda *_: pytest.fail("the embeddings are in the store"))
    monkeypatch.setattr(verify, "pair_rates", lambda *_: pytest.fail("the rates are in the store"))
    verify.main(words)
    _, folder = result(tmp_path)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_network_that_answers_nan_is_counted_and_asked_again(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nan = ["model=tiny_nan", *words[1:], "--config-dir", str(SUPPORT), "model.nan_above=-0.1"]
    assert verify.main(nan) == 1
    about, _ = result(tmp_path)
    assert about["photos"] == {"ok": 66}
    assert 0 < about["n_pairs_without_score"] <= 132
    assert rates(about)["accuracy"]["n"] in (0, 132 - about["n_pairs_without_score"])


def test_without_a_list_pairs_are_drawn_and_folds_share_nobody(faces: FaceSet, words: list[str], tmp_path: Path):
    pairs = drawn_pairs(faces, per_fold=4, seed=0)
    for number in range(10):
        inside = pairs.fold == number
        assert pairs.same[inside].sum() == (~pairs.same[inside]).sum() == 4
    people = [{*pairs.left_person[pairs.fold == n], *pairs.right_person[pairs.fold == n]} for n in range(10)]
    assert sum(len(some) for some in people) == len(set.union(*people))
    assert (pairs.same == (pairs.left_person == pairs.right_person)).all()
    assert (pairs.left != pairs.right).all()
    again, other = drawn_pairs(faces, 4, 0), drawn_pairs(faces, 4, 1)
    assert (again.left == pairs.left).all()
    assert not (other.left == pairs.left).all()
    with pytest.raises(ValueError, match="pairs in 10 folds need 20"):
        drawn_pairs(faces.select(range(30)), 4, 0)
    drawn = [word for word in words if not word.startswith("pairs=")]
    assert verify.main([*drawn, "pairs=drawn", "dataset.references_per_identity=0"]) == 0
    about, _ = result(tmp_path)
    assert about["pairs"].startswith("drawn from the probes (seed 0)")


def test_folds_of_the_list_are_kept() -> None:
    left, right = [f"a/{i}" for i in range(4)], [f"b/{i}" for i in range(4)]
    faces = {name: ("ok", "", torch.zeros(3, 2, 2, dtype=torch.uint8)) for name in (*left, *right)}
    same, fold = np.array([True, False, True, False]), np.array([3, 3, 7, 7])
    pairs = listed_pairs(left, right, same, fold, faces, "list")
    assert pairs.fold.tolist() == [3, 3, 7, 7]
    assert pairs.how == "list, the list's folds"
    lost = dict.fromkeys(faces, ("no_face", "give its points", None))
    with pytest.raises(ValueError, match="none of the 8 photos of the list can be used: a/0: no_face: give its points"):
        listed_pairs(left, right, same, fold, lost, "list")


def test_a_mistake_is_one_line(words: list[str], tmp_path: Path) -> None:
    model, dataset, root = words[:3]
    with pytest.raises(ValueError, match=r"there is no .*pairs\.txt: name a list with pairs=FILE"):
        verify.main([model, dataset, root])
    with pytest.raises(ValueError, match="a pair list names photo files"):
        verify.main([model, "pairs=list.csv"])
    with pytest.raises(ValueError, match=r"dataset\.root=\.\.\."):
        verify.main([model, dataset])
    with pytest.raises(ValueError, match="name faces with dataset="):
        verify.main(["model=tiny1", "--config-dir", str(SUPPORT)])
    with pytest.raises(ValueError, match=r"set model\.card\.family=\.\.\., "):
        verify.main(["model=onnx"])
    with pytest.raises(ValueError, match="cloakbench verify model=NAME"):
        verify.main([dataset])
