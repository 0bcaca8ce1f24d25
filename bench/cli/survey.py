"""``cloakbench survey``: sheets on which people rate the photos of a run, and the table of their answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from cloakbench.bench.cli.report import find_run
from cloakbench.bench.config.checks.setting_checks import check_values
from cloakbench.bench.config.compose import compose_config, split_config_dirs
from cloakbench.bench.config.flags import is_name
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.files.regular_file import read_regular
from cloakbench.bench.core.ranges import whole
from cloakbench.bench.core.screen import Screen
from cloakbench.bench.report.archive import load_results
from cloakbench.bench.report.table_text import to_csv, to_latex, to_markdown
from cloakbench.bench.report.writer import frame_csv, write_text
from cloakbench.bench.survey.answers import gaps, read_answers
from cloakbench.bench.survey.page import page, pictures
from cloakbench.bench.survey.scores import study_table
from cloakbench.bench.survey.study import Study

CODES = "codes.json"
"""Which code is which method; lies beside the folder of sheets and is for no rater."""
SHEETS = "sheets"
_USAGE = "cloakbench survey export RUN output=FOLDER, or cloakbench survey import RUN answers=FOLDER"


def main(words: Sequence[str]) -> int:
    """``cloakbench survey export RUN output=FOLDER`` writes a sheet for each rater, ``cloakbench survey import RUN
    answers=FOLDER`` checks what came back and writes the table of the human study into the run's folder.

    Raises:
        ConfigError: neither is asked for, there is no such run, a setting is missing, or an answer cannot be used.
    """
    config_dirs, rest = split_config_dirs(words)
    names = [word for word in rest if is_name(word)]
    if len(names) != 2 or names[0] not in ("export", "import"):
        raise ConfigError(f"say what to do with which run: {_USAGE}")
    config = compose_config([word for word in rest if not is_name(word)], "survey", config_dirs)
    check_values(config)
    screen = Screen()
    folder = find_run(names[1], Path(config.paths.runs), screen)
    screen.path(_export(config, folder) if names[0] == "export" else _import(config, folder, screen))
    return 0


def _export(config: DictConfig, folder: Path) -> str:
    """Write the sheets and the list of codes; returns what was done."""
    if config.output is None:
        raise ConfigError("set output=FOLDER, where the sheets go")
    output, raters = Path(str(config.output)).expanduser(), whole("raters", config.raters)
    study = Study.draw(load_results(folder), whole("sets", config.sets), config.seed)
    if not study.items:
        raise ConfigError(f"{folder} shows no protected photo: nothing is there to be rated")
    shown, people = pictures(study), []
    for number in range(1, raters + 1):
        people.append(study.rater(number, [str(group) for group in config.groups], config.seed))
        write_text(output / SHEETS / f"{people[-1].name}.html", page(study, people[-1], shown))
    write_text(output / CODES, json.dumps(study.code_list(config.seed, people), indent=1) + "\n")
    return (
        f"{raters} sheets of {len(study.items)} pictures in {output / SHEETS}; {output / CODES} says which code is "
        "which method and is for no rater"
    )


def _import(config: DictConfig, folder: Path, screen: Screen) -> str:
    """Check the answers and write the table; returns what was done."""
    if config.answers is None:
        raise ConfigError("set answers=FOLDER, where the files are that the sheets saved")
    answers = Path(str(config.answers)).expanduser()
    if not answers.is_dir():
        raise ConfigError(f"there is no folder {answers}: set answers=FOLDER")
    codes = _codes(config, answers)
    study = Study.draw(load_results(folder), codes["sets"], codes["seed"])
    if study.name != codes["study"]:
        raise ConfigError(
            f"the codes are of study {codes['study']}, and {folder} has {study.name}: name the run that was rated"
        )
    ratings = read_answers(sorted(answers.glob("*.csv")), study, codes["raters"])
    table = study_table(study, ratings, config.statistics.resamples, config.seed)
    target = folder / "survey"
    for name, text in {"csv": to_csv(table), "md": to_markdown(table), "tex": to_latex(table)}.items():
        write_text(target / f"{table.name}.{name}", text)
    write_text(target / "ratings.csv", frame_csv(ratings))
    for rater, count in gaps(ratings).items():
        screen.path(f"{rater} left {count} answers open; they are in no mean")
    screen.path(to_markdown(table))
    return f"Table of {ratings['rater'].nunique()} raters written: {target / f'{table.name}.md'}"


def _codes(config: DictConfig, answers: Path) -> dict[str, Any]:
    """The list of codes that is named, or lies in the folder of answers or beside it.

    Raises:
        ConfigError: there is none, or it is no such list.
    """
    named = [Path(str(config.codes)).expanduser()] if config.codes else [answers / CODES, answers.parent / CODES]
    file = next((path for path in named if path.is_file()), None)
    if file is None:
        raise ConfigError(f"there is no {' or '.join(map(str, named))}: set codes=FILE, which the export wrote")
    try:
        found = json.loads(read_regular(file))
        if not isinstance(found, dict) or not {"study", "sets", "seed", "raters"} <= set(found):
            raise ValueError
    except ValueError:
        raise ConfigError(f"{file} is no list of codes: set codes=FILE, which the export wrote") from None
    return found
