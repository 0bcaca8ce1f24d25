"""Lists that people bring: whatever is in them is one line with file and line number, or it works."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cloakbench.datasets.detection import LANDMARK_COLUMNS, read_landmarks
from cloakbench.datasets.layouts.csv_table import CsvTable
from cloakbench.datasets.layouts.identity_folders import IdentityFolders
from cloakbench.datasets.layouts.impersonation import Impersonation
from cloakbench.datasets.layouts.reading import read_table
from cloakbench.datasets.layouts.recordio import read_records
from cloakbench.datasets.layouts.vggface2 import VggFace2
from cloakbench.datasets.listing import Listing
from cloakbench.datasets.pairs import PairList, read_pairs, sound_pairs
from cloakbench.datasets.photos import DatasetError
from cloakbench.datasets.text_lists import csv_rows, split_lines, whole_number

HUGE = "9" * 5000
HEAD = "file_a,file_b,same"


def wrong(read: Callable[[], object]) -> str:
    with pytest.raises(DatasetError) as caught:
        read()
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    assert message.isprintable()
    return message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{HEAD},fold\na,b,1,{10**30}", r"line 2: fold is '1000.*whole number"),
        (f"{HEAD},fold\na,b,1,0\na,c,1,{HUGE}", r"line 3: fold is '999.*\(5000 characters\)"),
        (f"{HEAD},fold\na,b,1,-1", r"line 2: fold is '-1'"),
        (f"{HEAD},fold\na,b,1,1.5", r"line 2: fold is '1.5'"),
        (f"{HEAD}\na\0b,c,1", r"line 2: a NUL character.*save it as plain text"),
        (f"{HEAD}\n{'a' * 200_000},c,1", r"line 2: not CSV \(field larger than"),
        (f"{HEAD}\n{'a,' * 9999}", r"line 2: 3 values are needed.*there are 10000"),
        (f"{HEAD},same\na,b,1,0", r"line 1: the column same occurs 2 times: keep one"),
        (f"{HEAD}\n/etc/passwd,b,1", r"line 2: '/etc/passwd' is not a path below"),
        (f"{HEAD}\na/../../b,b,1", r"line 2: .* is not a path below"),
        (f"{HEAD}\n.,b,1", r"line 2: '.' is not a path below"),
        (f'{HEAD}\n"a,b,1', r"line 2: not CSV \(unexpected end of data\)"),
        (f"{HEAD}\n \n,,\n", r"holds no pair"),
        (" \n", r"line 1: empty"),
        ("1\t1\n\nx\t1\ty\t2", r"line 2: ''; expected name, photo, photo"),
        ("1\t1\n   \nx\t1\ty\t2", r"line 2: '   '; expected name, photo, photo"),
        ("1\t1\n \t1\t2\nx\t1\ty\t2", r"line 2: .*; expected name, photo, photo"),
        (f"1\t1\nx\t1\t{HUGE}\nx\t1\ty\t2", r"line 2: .*characters\); expected"),
        (f"1\t1\nx\t1\t2\nx\t{10**30}\ty\t2", r"line 3: .*expected name, photo, name, photo"),
        (f"{HUGE}\t1\nx\t1\t2", r"line 1: .*expected the number of folds"),
        ("1\t1\n../x\t1\t2\nx\t1\ty\t2", r"line 2: .*expected name"),
        ("1\t1\nx\t1\t2\n..\t1\ty\t2", r"line 3: .*expected name"),
        ("1\t1\nx\t1\t²\nx\t1\ty\t2", r"line 2: .*expected name"),
    ],
)
def test_a_pair_list(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "pairs.txt"
    file.write_text(text, encoding="utf-8", newline="")
    said = wrong(lambda: read_pairs(file, tmp_path))
    assert str(file) in said
    assert re.search(message, said)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{HEAD}\né,b,1".encode("latin-1"), r"line 2: byte 0xe9 is not text in UTF-8: save it as UTF-8"),
        (f"{HEAD}\na,b,1".encode("utf-16"), r"is text in UTF-16: save it as UTF-8"),
        (f"{HEAD}\na,b,1".encode("utf-16-le"), r"line 1: a NUL character"),
        (b"\xff" * 10, r"line 1: byte 0xff|UTF-16"),
    ],
)
def test_other_encodings_name_the_remedy(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "p.csv").write_bytes(content)
    assert re.search(message, wrong(lambda: read_pairs(tmp_path / "p.csv", tmp_path)))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_marks_ends_and_blank_rows_of_spreadsheets_are_fine(tmp_path: Path, end: str) -> None:
    rows = [HEAD, "a\u2028x,b\x85y,1", "", "  ", ",,", "c,d,0", ""]
    (tmp_path / "p.csv").write_bytes(b"\xef\xbb\xbf" + end.join(rows).encode())
    pairs = read_pairs(tmp_path / "p.csv", tmp_path)
    assert (pairs.left, pairs.right) == (("a\u2028x", "c"), ("b\x85y", "d"))
    lfw = end.join(["1\t1", "x\t1\t2", "x\t1\ty\t2", "", ""])
    (tmp_path / "pairs.txt").write_bytes(lfw.encode())
    assert len(read_pairs(tmp_path / "pairs.txt", tmp_path)) == 2


def test_pairs_that_cannot_be_judged_are_left_out_with_the_reason() -> None:
    listed = [
        ("a", "b", 1),
        ("c", "d", 1),
        ("b", "a", 1),  # the first again
        ("d", "c", 0),  # contradicts the second
        ("e", "e", 1),
        ("f", "f", 0),
        ("a", "c", 0),
        ("d", "c", 0),
    ]
    left, right, same = zip(*listed, strict=True)
    pairs = PairList(left, right, np.array(same, dtype=bool), np.arange(8))
    kept, left_out = sound_pairs(pairs)
    assert (kept.left, kept.right, kept.same.tolist(), kept.fold.tolist()) == (
        ("a", "a"),
        ("b", "c"),
        [True, False],
        [0, 6],
    )
    assert [(one.left, one.right, one.why) for one in left_out] == [
        ("c", "d", "contradictory"),
        ("b", "a", "repeated"),
        ("d", "c", "contradictory"),
        ("e", "e", "with_itself"),
        ("f", "f", "with_itself"),
        ("d", "c", "contradictory"),
    ]
    with pytest.raises(DatasetError, match="none of the 1 pairs of the list can be used: e and e: with_itself"):
        sound_pairs(PairList(("e",), ("e",), np.array([True]), np.array([0])))


CSV_HEAD = "file,identity,role,age"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{CSV_HEAD}\na.png,ann,,{HUGE}", r"line 2: age is '99.*\(5000 characters\), it must be a whole number"),
        (f"{CSV_HEAD}\na.png,ann,,²", r"line 2: age is '²'"),
        (f"{CSV_HEAD},role\na.png,ann,,1,", r"line 1: the column role occurs 2 times"),
        (f"{CSV_HEAD}\n{'x' * 5000},ann,,1", r"line 2: there is no file"),
        (f"{CSV_HEAD}\na.png,   ,,1", r"line 2: identity is empty"),
        (f"{CSV_HEAD}\na.png,ann,\x1b[31m,1", r"line 2: role is '\\x1b\[31m'"),
        ("", r"is empty"),
        (" \n\n", r"is empty"),
        (CSV_HEAD, r"line 1: there are no rows"),
    ],
)
def test_a_table_of_photos(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "photos.csv").write_text(text, encoding="utf-8")
    assert re.search(message, wrong(lambda: CsvTable(tmp_path, attributes=["age"]).listing()))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{HUGE}\nA B\nx 1 2", r"the first two lines must be the number of rows"),
        ("²\nA B\nx 1 2", r"the first two lines must be the number of rows"),
        (f"1\nA B\nx 1 {HUGE}", r"line 3: .*correct the line"),
        ("1\nA B\nx 1 1e400", r"line 3: "),
        ("1\nA B\n\n\n", r"0 rows, but its first line announces 1"),
        ("2\nA B\nx 1 2\nx 1 2", r"line 4: x occurs twice"),
    ],
)
def test_a_label_table(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.txt").write_text(text, encoding="utf-8")
    layout = IdentityFolders(tmp_path)
    said = wrong(lambda: read_table(layout, tmp_path / "t.txt", columns=2, titled=True))
    assert re.search(message, said)


def test_whole_numbers_have_bounds() -> None:
    assert [whole_number(text, 100) for text in ("0", "007", "100", "101", "-1", "", "1.0", "٣", "²", HUGE)] == [
        0, 7, 100, None, None, None, None, None, None, None
    ]  # fmt: skip
    assert whole_number("0" * 6000 + "5", 100) == 5
    assert split_lines("a\r\nb\rc\n\x0bd\n") == ["a", "b", "c", "\x0bd"]


PIECES = [*"ab12./,\t \"'\n\r-é²\x1b\0", "9" * 30, "nan", "..", "probe"]
SHAPED = st.lists(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), max_size=8).map("\n".join)
FILES = st.one_of(
    st.binary(max_size=80),
    SHAPED.map(lambda text: text.encode()),
    SHAPED.map(lambda text: f"{HEAD},fold\n{text}".encode()),
    SHAPED.map(lambda text: f"1\t2\n{text}".encode()),
    SHAPED.map(lambda text: f"file,identity,{','.join(LANDMARK_COLUMNS)}\n{text}".encode()),
    SHAPED.map(lambda text: f"image_id,identity,role,group\n{text}".encode()),
    SHAPED.map(lambda text: f"Class_ID,Name,Gender\n{text}".encode()),
)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=FILES)
@example(content=b"1\t1\n\x00")
@example(content=b'Class_ID,Name,Gender\n"')
def test_no_reader_raises_anything_but_one_line(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    root = tmp_path_factory.getbasetemp() / "fuzzed"
    (root / "test" / "ann").mkdir(parents=True, exist_ok=True)
    (root / "test" / "ann" / "1.png").touch()
    (root / "a").touch()
    (root / "1").touch()
    file = root / "list"
    file.write_bytes(content)
    (root / "identity_meta.csv").write_bytes(content)
    layout = IdentityFolders(root)
    readers: list[Callable[[], object]] = [
        lambda: sound_pairs(read_pairs(file, root)),
        lambda: read_landmarks(file, root),
        lambda: CsvTable(root, "list").listing(),
        lambda: read_table(layout, file, columns=2),
        lambda: read_table(layout, file, columns=1, titled=True, dtype=np.float32),
        lambda: read_records(layout, file, file),
        lambda: Impersonation(people=1, groups=1, file=str(file)).applied(Listing(["a"], ["b"], ["a"]), root),
        lambda: VggFace2(root).listing(),
        lambda: list(csv_rows(content.decode("latin-1"), "t", ("a",))[1]),
    ]
    for read in readers:
        try:
            read()
        except DatasetError as error:
            assert "\n" not in str(error)
