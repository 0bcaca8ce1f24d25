"""``cloakbench share``: a finished run in formats that others read."""

from __future__ import annotations

import csv
import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from cloakbench import __version__
from cloakbench.bench.cli.report import find_run
from cloakbench.bench.config.checks.setting_checks import check_values
from cloakbench.bench.config.compose import compose_config, split_config_dirs
from cloakbench.bench.config.flags import is_name
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.screen import Screen
from cloakbench.bench.report.archive import load_results
from cloakbench.bench.report.estimate import records
from cloakbench.bench.report.formats.cards import model_card
from cloakbench.bench.report.formats.croissant import FIELDS, MANIFEST, Described, croissant
from cloakbench.bench.report.formats.every_eval_ever import RunSource, every_eval_ever
from cloakbench.bench.report.results import Results
from cloakbench.bench.report.writer import write_text

_RENDERER = "cloakbench.datasets.synthetic."
_RENDERED = {"licence": "MIT", "page": "https://spdx.org/licenses/MIT"}
"""Of faces that are drawn by this package."""


def main(words: Sequence[str]) -> int:
    """``cloakbench share RUN [output=FOLDER] [organisation=NAME]``.

    Raises:
        ConfigError: not one run is named, or there is none of that name.
        StoreError: the folder cannot be written.
    """
    config_dirs, rest = split_config_dirs(words)
    names = [word for word in rest if is_name(word)]
    if len(names) != 1:
        raise ConfigError("name one run: cloakbench share RUN [output=FOLDER]")
    config = compose_config([word for word in rest if not is_name(word)], "share", config_dirs)
    check_values(config)
    screen = Screen()
    folder = find_run(names[0], Path(config.paths.runs), screen)
    results = load_results(folder)
    output = folder / "shared" if config.output is None else Path(str(config.output)).expanduser()
    finished = int((folder / "data" / "about.json").stat().st_mtime)
    count = _write_records(results, config, output, str(finished))
    for card in records(results.models):
        write_text(output / "cards" / f"{_file_name(str(card['name']))}.md", model_card(card))
    described = _write_croissant(results, folder, output, time.strftime("%Y-%m-%d", time.gmtime(finished)))
    screen.path(f"{count} records, {len(results.models)} cards and {described} written: {output}")
    return 0


def _write_records(results: Results, config: DictConfig, output: Path, finished: str) -> int:
    source = RunSource(str(config.organisation), str(config.relationship), finished, __version__)
    found = list(every_eval_ever(results, source))
    for name, record in found:
        text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
        write_text(output / "every_eval_ever" / f"{_file_name(name)}.json", text + "\n")
    return len(found)


def _write_croissant(results: Results, folder: Path, output: Path, day: str) -> str:
    """Describe the manifest of a run; returns what was written."""
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return f"no description of the faces ({manifest} is not there)"
    content = manifest.read_text(encoding="utf-8")
    columns = next(csv.reader([content.partition("\n")[0]]))
    terms = _terms(folder)
    described = Described(
        name=results.dataset.partition(" ")[0],
        version=results.manifest_sha256[:16],
        description=f"The faces of a run of CloakBench on {results.dataset}: people, roles and digests, no pictures.",
        published=day,
        creator=str(terms["creator"]),
        licence=str(terms["licence"]),
        page=str(terms["page"]),
    )
    write_text(output / MANIFEST, content)
    digest = hashlib.sha256((output / MANIFEST).read_bytes()).hexdigest()
    told = croissant(described, {name: FIELDS[name] for name in columns}, digest)
    write_text(output / "croissant.json", json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    return "croissant.json"


def _terms(folder: Path) -> dict[str, Any]:
    """Licence and page of the data set, as the class says that reads it; of rendered faces where none does."""
    config = OmegaConf.load(folder / "config.yaml")
    target = OmegaConf.select(config, "dataset.layout._target_")
    if target is None:
        built = str(OmegaConf.select(config, "dataset._target_", default=""))
        unknown = {"licence": "unknown: that of the photos", "page": "https://schema.org/Dataset", "creator": "unknown"}
        return {**_RENDERED, "creator": "The CloakBench authors"} if built.startswith(_RENDERER) else unknown
    layout = get_class(target)
    return {"licence": layout.licence, "page": layout.page, "creator": layout.__name__}


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "._-@=" else "_" for letter in name)
