"""A human study from sheets to table: what raters see, what comes back, and what is refused."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from cloakbench.bench.cli.main import main
from cloakbench.bench.core.random_streams import generator
from cloakbench.bench.report.archive import load_results, save_results
from cloakbench.bench.report.results import MEASUREMENT_COLUMNS, Example, Results
from cloakbench.bench.statistics.agreement import krippendorff_alpha
from cloakbench.bench.survey.page import COLUMNS, QUESTIONS, page, pictures
from cloakbench.bench.survey.study import Study

METHODS = ("PGD, 8/255", "Fawkes", "clean")


def face(number: int) -> torch.Tensor:
    return torch.randint(0, 256, (3, 8, 8), generator=generator("survey", number), dtype=torch.uint8)


def results(faces: int = 5) -> Results:
    """Of a run that shows so many faces; Fawkes failed on the first."""
    shown = tuple(
        Example(
            f"face{number}",
            face(number),
            {name: face(100 * place + number) for place, name in enumerate(METHODS) if (name, number) != ("Fawkes", 0)},
        )
        for number in range(faces)
    )
    empty = pd.DataFrame()
    return Results(
        "shown",
        "toy 1",
        "0" * 64,
        pd.DataFrame(columns=list(MEASUREMENT_COLUMNS)),
        empty,
        pd.DataFrame(columns=["method", "variant", "publication"]),
        pd.DataFrame(columns=["key", "varied", "variant"]),
        empty,
        shown,
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "results" / "runs" / "shown-00000000"
    save_results(results(), folder)
    return folder


def words(tmp_path: Path, *more: str) -> list[str]:
    return ["survey", more[0], "shown", *more[1:], f"paths.results={tmp_path / 'results'}"]


def exported(tmp_path: Path, *more: str) -> Path:
    folder = tmp_path / "study"
    assert main(words(tmp_path, "export", f"output={folder}", "sets=4", "raters=4", "groups=[a,b]", *more)) == 0
    return folder


class Held(HTMLParser):
    """What a page refers to, and what its JSON holds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.inside = ""
        self.study: dict[str, Any] = {}
        self.script = ""
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = dict(attrs).get("id") or tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "study":
            self.study = json.loads(data)
        elif self.inside == "script":
            self.script = data
        else:
            self.text += data


def sheets(folder: Path) -> list[Held]:
    return [Held(path.read_text("utf-8")) for path in sorted((folder / "sheets").glob("*.html"))]


def answer(folder: Path, name: str = "answers") -> pd.DataFrame:
    """Made-up raters fill in every sheet and save what a page saves; returns what they said."""
    rows = []
    (folder / name).mkdir()
    for number, sheet in enumerate(sheets(folder)):
        draws = generator("made-up rater", number)
        own = []
        for set_number, code, _ in sheet.study["items"]:
            marks = torch.randint(1, 11, (2,), generator=draws).tolist()
            own.append([sheet.study["name"], sheet.study["rater"], sheet.study["group"], set_number, code, *marks])
        with (folder / name / f"{sheet.study['rater']}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *sorted(own, key=lambda row: row[3:5])])
        rows += own
    return pd.DataFrame(rows, columns=list(COLUMNS))


def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    assert main(words(tmp_path, *more)) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_a_sheet_stands_for_itself_and_names_no_method(run: Path, tmp_path: Path) -> None:
    folder = exported(tmp_path)
    assert sorted(path.name for path in folder.rglob("*.*")) == [
        "codes.json",
        *(f"rater_{number:02d}.html" for number in range(1, 5)),
    ]
    shown = load_results(run).examples
    for sheet, path in zip(sheets(folder), sorted((folder / "sheets").iterdir()), strict=True):
        text = path.read_text("utf-8")
        assert not re.search(r"https?:|//[a-z]|@import|fetch\(|XMLHttp|WebSocket|sendBeacon", text)
        assert not any(name in text for name in (*METHODS, "Fawkes", "face0"))
        assert all(set(about) & {"src", "href"} == set() for _, about in sheet.tags)
        policy = next(about["content"] for tag, about in sheet.tags if about.get("http-equiv"))
        assert policy.startswith("default-src 'none'; img-src data:;")
        assert "voluntary" in sheet.text and sheet.text.index("voluntary") < sheet.text.index("Original")
        assert ("div", {"id": "sheet", "hidden": None}) in sheet.tags  # until somebody agrees
        radios = [about["name"] for tag, about in sheet.tags if about.get("type") == "radio"]
        assert radios == [name for name in QUESTIONS for _ in range(10)]
        assert len(sheet.study["originals"]) == 4 and set(sheet.study["originals"]) == {"1", "2", "3", "4"}
        assert all(picture.startswith("data:image/png;base64,") for _, _, picture in sheet.study["items"])
    photos = json.loads((folder / "codes.json").read_text())["photos"]
    assert set(photos.values()) < {one.image_id for one in shown} and len(photos) == 4


def test_pictures_are_those_of_the_run_to_the_last_pixel() -> None:
    from base64 import b64decode
    from io import BytesIO

    from PIL import Image

    study = Study.draw(results(), 5, 0)
    shown = pictures(study)
    assert len(shown) == 5 + 14  # an original each; one method failed on one face
    for (number, code), address in shown.items():
        pixels = np.asarray(Image.open(BytesIO(b64decode(address.partition(",")[2])))).transpose(2, 0, 1)
        one = study.sets[number - 1]
        assert (pixels == (one.protected[study.labels[code]] if code else one.original).numpy()).all()


def test_order_is_drawn_for_each_rater_and_codes_and_sets_by_the_seed() -> None:
    study, other = Study.draw(results(), 4, 0), Study.draw(results(), 4, 1)
    orders = [study.rater(number, (), 0).order for number in range(1, 6)]
    assert len(set(orders)) == 5 and all(sorted(order) == list(range(len(study.items))) for order in orders)
    assert orders[0] == Study.draw(results(), 4, 0).rater(1, (), 0).order and study.name != other.name
    assert study.name == Study.draw(results(), 4, 0).name and sorted(study.codes.values()) == ["A", "B", "C"]
    assert len({tuple(Study.draw(results(), 4, seed).codes.items()) for seed in range(8)}) > 1
    assert [study.rater(number, ("x", "y"), 0).group for number in (1, 2, 3)] == ["x", "y", "x"]


def test_what_made_up_raters_said_comes_back_as_the_table_by_hand(run: Path, tmp_path: Path) -> None:
    folder = exported(tmp_path)
    said = answer(folder)
    assert main(words(tmp_path, "import", f"answers={folder / 'answers'}")) == 0
    table = pd.read_csv(run / "survey" / "human_study.csv", keep_default_na=False).set_index(["group", "method"])
    codes = json.loads((folder / "codes.json").read_text())["codes"]
    assert set(codes.values()) == set(METHODS)
    for title, part in (("All raters", said), *said.groupby("group")):
        for code, method in codes.items():
            own = part[part["code"] == code]
            line = table.loc[title, method]
            for name in QUESTIONS:
                assert float(line[f"{name}_mean"]) == pytest.approx(own[name].mean(), abs=1e-3)
                assert float(line[f"{name}_sd"]) == pytest.approx(own[name].std(), abs=1e-3)
                assert float(line[f"{name}_mean_low"]) <= own[name].mean() <= float(line[f"{name}_mean_high"])
            assert int(line["raters"]) == own["rater"].nunique() == (4 if title == "All raters" else 2)
            assert int(line["ratings"]) == 2 * len(own)
    text = (run / "survey" / "human_study.md").read_text()
    wide = said.pivot(index="rater", columns=["set", "code"], values="visual_naturalness").to_numpy(dtype=float)
    assert f"visual naturalness {krippendorff_alpha(wide):.3f}" in text
    assert len(pd.read_csv(run / "survey" / "ratings.csv")) == len(said)


def test_without_answers_the_table_is_a_gap(run: Path, tmp_path: Path) -> None:
    folder = exported(tmp_path)
    (folder / "answers").mkdir()
    assert main(words(tmp_path, "import", f"answers={folder / 'answers'}")) == 0
    table = pd.read_csv(run / "survey" / "human_study.csv").set_index("method")
    assert set(table.index) == set(METHODS) and table.filter(like="mean").isna().all().all()
    assert (table["raters"] == 0).all() and "nobody has answered" in (run / "survey" / "human_study.md").read_text()


def test_questions_left_open_are_counted_and_in_no_mean(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = exported(tmp_path)
    said = answer(folder)
    file = folder / "answers" / "rater_02.csv"
    lines = file.read_text().splitlines()
    first = lines[1].split(",")
    file.write_text("\n".join([lines[0], ",".join([*first[:5], "", first[6]]), *lines[3:]]) + "\n")
    assert main(words(tmp_path, "import", f"answers={folder / 'answers'}")) == 0
    assert "rater_02 left 3 answers open" in capsys.readouterr().out
    table = pd.read_csv(run / "survey" / "human_study.csv").set_index(["group", "method"])
    assert table.loc["All raters", "ratings"].sum() == 2 * len(said) - 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda line: line.rsplit(",", 1)[0] + ",11",
            r"visual_naturalness is '11'; it must be a whole number from 1 to",
        ),
        (lambda line: line.rsplit(",", 1)[0] + ",seven", r"visual_naturalness is 'seven'"),
        (lambda line: line.rsplit(",", 1)[0] + ",-1", r"visual_naturalness is '-1'"),
        (lambda line: line + ",5", r"8 cells, and there are 7 columns"),
        (lambda line: re.sub(r"^[^,]*", "0123", line), r"answers of study '0123', and the run's is [0-9a-f]{16}$"),
        (lambda line: line.replace("rater_03", "rater_77"), r"the study has no 'rater_77'; sheets are rater_01, "),
        (lambda line: re.sub(r",\d+,[ABC],", ",9,A,", line), r"set '9' has no picture 'A'$"),
        (
            lambda line: f"{line}\n{line}",
            r"line 4: rater_03 rated picture . of set . before, in .*rater_03.csv, line 3",
        ),
    ],
)
def test_a_broken_file_is_one_line_that_names_file_and_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Any, message: str
) -> None:
    folder = exported(tmp_path)
    answer(folder)
    capsys.readouterr()
    file = folder / "answers" / "rater_03.csv"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:2], change(lines[2]), *lines[3:]]) + "\n")
    said = refused(tmp_path, capsys, "import", f"answers={folder / 'answers'}")
    assert f"{file}, line {4 if 'line 4' in message else 3}: " in said
    assert re.search(message, said)
    assert not (run / "survey").exists()


def test_other_columns_and_files_that_are_no_text_are_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = exported(tmp_path)
    answers = folder / "answers"
    answers.mkdir()
    (answers / "one.csv").write_text("a,b\n1,2\n")
    capsys.readouterr()
    assert "one.csv, line 1: the columns are 'a, b', and must be study," in refused(
        tmp_path, capsys, "import", f"answers={answers}"
    )
    (answers / "one.csv").write_bytes(b"\xff\xfe\x00")
    assert "one.csv, line 1: no CSV file in UTF-8" in refused(tmp_path, capsys, "import", f"answers={answers}")


def test_answers_of_another_run_are_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = exported(tmp_path)
    answer(folder)
    capsys.readouterr()
    changed = results()
    changed.examples[2].protected["clean"].add_(1)  # type: ignore[attr-defined]
    save_results(changed, run)
    assert "name the run that was rated" in refused(tmp_path, capsys, "import", f"answers={folder / 'answers'}")


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (("export", "sets=9", "output=x"), "9 sets are asked for, and the run shown shows 5 faces"),
        (("export",), "set output=FOLDER"),
        (("import",), "set answers=FOLDER"),
        (("import", "answers=nowhere"), "there is no folder nowhere"),
        (("publish", "output=x"), "say what to do with which run"),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], typed: tuple[str, ...], message: str
) -> None:
    assert message in refused(tmp_path, capsys, *typed)


def test_without_the_list_of_codes_nothing_is_read(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = exported(tmp_path)
    answer(folder)
    (folder / "codes.json").rename(tmp_path / "kept.json")
    capsys.readouterr()
    assert "set codes=FILE" in refused(tmp_path, capsys, "import", f"answers={folder / 'answers'}")
    kept = f"codes={tmp_path / 'kept.json'}"
    assert main(words(tmp_path, "import", f"answers={folder / 'answers'}", kept)) == 0


@pytest.mark.skipif(shutil.which("node") is None, reason="no JavaScript engine is here")
def test_what_the_page_saves_is_what_is_read() -> None:
    study = Study.draw(results(), 2, 0)
    sheet = Held(page(study, study.rater(1, ("a, b",), 0), pictures(study)))
    number, code = study.items[0]
    given = json.dumps({f"{number} {code}": {"information_sufficiency": 7, "visual_naturalness": 10}})
    script = f"{sheet.script}\nprocess.stdout.write(toCsv({json.dumps(sheet.study)}, {given}));"
    made = subprocess.run(["node", "-e", script], capture_output=True, text=True, check=True).stdout
    rows = list(csv.reader(made.splitlines()))
    assert tuple(rows[0]) == COLUMNS and len(rows) == 1 + len(study.items)
    assert [(int(row[3]), row[4]) for row in rows[1:]] == sorted(study.items)
    filled = next(row for row in rows[1:] if (int(row[3]), row[4]) == (number, code))
    assert filled == [study.name, "rater_01", "a, b", str(number), code, "7", "10"]
    assert sum(row[5:] == ["", ""] for row in rows[1:]) == len(study.items) - 1
