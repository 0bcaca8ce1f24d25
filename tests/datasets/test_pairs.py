"""Pair lists: LFW's format, CSV tables, and what is said about a malformed line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from real_pack import PACK, requires_pack

from cloakbench.datasets.pairs import read_pairs
from cloakbench.datasets.photos import DatasetError

LFW = ["2\t2", "Ann\t1\t4", "Bo_Li\t1\t2", "Ann\t1\tBo_Li\t12", "Cy\t3\tAnn\t2"]
LFW += ["Cy\t1\t2", "Cy\t2\t3", "Dee\t1\tCy\t1", "Ann\t4\tDee\t2"]


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_official_list_keeps_order_folds_and_kinds(tmp_path: Path) -> None:
    pairs = read_pairs(write(tmp_path / "pairs.txt", *LFW), tmp_path)
    assert len(pairs) == 8
    assert pairs.left[0] == "Ann/Ann_0001.jpg"
    assert pairs.right[2] == "Bo_Li/Bo_Li_0012.jpg"
    assert pairs.same.tolist() == [True, True, False, False] * 2
    assert pairs.fold.tolist() == [0] * 4 + [1] * 4
    assert (pairs.same.dtype, pairs.fold.dtype) == (np.bool_, np.int64)


def test_official_ids_start_with_the_folder_of_the_archive(tmp_path: Path) -> None:
    file = write(tmp_path / "pairs.txt", *LFW)
    (tmp_path / "lfw_funneled" / "Ann").mkdir(parents=True)
    assert read_pairs(file, tmp_path).left[1] == "lfw_funneled/Bo_Li/Bo_Li_0001.jpg"
    assert read_pairs(file, tmp_path / "lfw_funneled").left[1] == "Bo_Li/Bo_Li_0001.jpg"


def test_development_list_is_one_fold(tmp_path: Path) -> None:
    pairs = read_pairs(write(tmp_path / "pairsDevTest.txt", "1", "Ann\t1\t4", "Ann 1 Cy 2"), tmp_path)
    assert pairs.right == ("Ann/Ann_0004.jpg", "Cy/Cy_0002.jpg")
    assert pairs.fold.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (LFW[:-1], r"pairs.txt, line 8: the list ends after 7 pairs, but its first line announces 8"),
        (["2\t2", "Ann\t1", *LFW[2:]], r"line 2: 'Ann\\t1'; expected name, photo, photo"),
        ([*LFW[:3], "Ann\t1\t2", *LFW[4:]], r"line 4: .*; expected name, photo, name, photo"),
        ([*LFW[:-1], "Ann\tone\tDee\t2"], r"line 9: .*; expected name, photo, name, photo"),
        (["0\t300"], r"line 1: '0\\t300'; expected the number of folds"),
        ([""], "line 1: empty"),
    ],
)
def test_malformed_official_list_is_one_line_with_the_place(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        read_pairs(write(tmp_path / "pairs.txt", *lines), tmp_path)
    assert "\n" not in str(caught.value)


def test_table_selects_rows_and_normalises_paths(tmp_path: Path) -> None:
    rows = ["file_a,file_b,same,fold,subset", "a/1.jpg,./a//2.jpg,1,0,x", "a/1.jpg,b/1.jpg,0,3,y", "c,d,0,1,x"]
    file = write(tmp_path / "pairs.csv", *rows)
    chosen = read_pairs(file, tmp_path, {"subset": "x"})
    assert chosen.left == ("a/1.jpg", "c")
    assert chosen.right == ("a/2.jpg", "d")
    assert chosen.same.tolist() == [True, False]
    assert chosen.fold.tolist() == [0, 1]
    assert read_pairs(write(tmp_path / "plain.csv", "file_a,file_b,same", "a,b,0"), tmp_path).fold.tolist() == [0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["file_a,file_b", "a,b"], r"line 1: there is no column same"),
        (["file_a,file_b,same", "a,b,1", "a,b"], r"line 3: 3 values are needed"),
        (["file_a,file_b,same", "a,b,1,7"], r"line 2: 3 values are needed"),
        (["file_a,file_b,same", "a,b,yes"], r"line 2: same is 'yes'"),
        (["file_a,file_b,same,fold", "a,b,1,"], r"line 2: fold is ''"),
        (["file_a,file_b,same", "../a,b,1"], r"line 2: '../a' is not a path below"),
        (["file_a,file_b,same", "a,/b,1"], r"line 2: '/b' is not a path below"),
        (["file_a,file_b,same"], "holds no pair$"),
    ],
)
def test_malformed_table_is_one_line_with_the_place(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_pairs(write(tmp_path / "pairs.csv", *rows), tmp_path)


def test_selection_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    table = write(tmp_path / "pairs.csv", "file_a,file_b,same", "a,b,1")
    with pytest.raises(DatasetError, match="line 1: there is no column subset"):
        read_pairs(table, tmp_path, {"subset": "lfw"})
    with pytest.raises(DatasetError, match="holds no pair with same=0"):
        read_pairs(table, tmp_path, {"same": "0"})
    with pytest.raises(DatasetError, match="LFW's format, which has no column subset"):
        read_pairs(write(tmp_path / "pairs.txt", *LFW), tmp_path, {"subset": "lfw"})
    with pytest.raises(DatasetError, match="cannot read the pair list"):
        read_pairs(tmp_path / "none.csv", tmp_path)


@requires_pack
def test_pairs_of_the_pack() -> None:
    counts = {"lfw": (600, 600), "orl": (190, 190), "hires": (33, 72)}
    for subset, (same, different) in counts.items():
        pairs = read_pairs(PACK / "pairs.csv", PACK, {"subset": subset})
        assert (int(pairs.same.sum()), int((~pairs.same).sum())) == (same, different)
        assert all((PACK / name).is_file() for name in (*pairs.left, *pairs.right))
