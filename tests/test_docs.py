"""The documents in ``docs/``: their examples run, what they name exists, and docstrings cite nothing else."""

from __future__ import annotations

import ast
import re
import runpy
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from documents import commands, files
from PIL import Image

from cloakbench.bench.cli.main import main
from cloakbench.bench.cli.running.sweep_jobs import check_sweep, sweep_jobs
from cloakbench.bench.core import status
from cloakbench.datasets.base import ROLES
from cloakbench.methods.base import Scope

pytestmark = pytest.mark.usefixtures("pdf_left_out")

ROOT = Path(__file__).parents[1]
ADDING = "docs/adding.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
TEXT = {path.name: path.read_text(encoding="utf-8") for path in DOCS}
MODULES = sorted(path for room in ("bench", "datasets", "methods", "models") for path in (ROOT / room).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
FOLDERS = ("bench", "conf", "datasets", "docs", "methods", "models", "results", "scripts", "tests")
NOT_HERE = re.compile(
    r"design (?:invariant|section)|design\.md|oracle O-|spec(?:ification)? oracle|oracles? \w+ (?:to \w+ )?of|"
    r"methods' specification|of its spec\b",
    re.IGNORECASE,
)
"""How documents that are not in the repository have been cited."""
RIDDLES = ("What", "Who", "Whose", "How", "Which", "Where", "When", "Why", "Whether")
"""A module's docstring begins by naming the artefact, not with a question."""


def plant_faces(folder: Path) -> None:
    """Three people with four photos and seven with one, as the reader's own."""
    folder.mkdir()
    for person in range(10):
        for number in range(4 if person < 3 else 1):
            drawn = np.random.default_rng([person, number]).integers(0, 256, (112, 112, 3), dtype=np.uint8)
            Image.fromarray(drawn).save(folder / f"person{person}_{number}.png")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, faces_cache: Path) -> Iterator[Path]:
    """A folder with the files of ``docs/adding.md`` and nothing else, in which its commands ran one after the other."""
    folder = tmp_path_factory.mktemp("adding")
    for name, content in files(ADDING, "python", "yaml").items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    plant_faces(folder / "my_faces")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", [str(folder), *sys.path])
        patch.delenv("CLOAKBENCH_RESULTS", raising=False)
        known = set(sys.modules)
        for command in commands(ADDING):
            program, *words = command.text.split()
            if program == "python":
                runpy.run_path(words[0], run_name="__main__")
                continue
            assert program == "cloakbench", command
            more = [] if words[0] in ("check", "list") else [f"paths.cache={faces_cache}", "runtime.workers=0"]
            assert main([*words, *more]) == 0, command
        yield folder
        for name in set(sys.modules) - known:
            if name.startswith("my_"):
                del sys.modules[name]


def measured(place: Path, dataset: str, name: str = "my_experiment") -> pd.DataFrame:
    """Measurements of the one run of an experiment on a data set."""
    runs = [path.parent for path in (place / "results" / "runs").glob(f"{name}-*/report.md")]
    [run] = [run for run in runs if f"- data: {dataset}" in (run / "report.md").read_text(encoding="utf-8")]
    return pd.read_csv(run / "tables" / "measurements.csv")


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["synthetic", "flat"])
def test_every_example_is_measured(place: Path, dataset: str) -> None:
    found = measured(place, dataset)
    assert (found[found["method"] == "smoothed_steps"]["surrogate"] == "my_network").all()
    hashes = found[found["metric"] == "hash_bits_changed"]
    assert set(hashes["protocol"]) == {"reverse_search"}
    assert set(zip(hashes["judge"], hashes["condition"], strict=True)) == {
        (judge, seen) for judge in ("average_hash", "difference_hash") for seen in ("none", "thumbnail_32")
    }
    assert (hashes["status"] == "ok").all()
    clean = hashes[(hashes["method"] == "identity") & (hashes["condition"] == "none")]
    assert (clean["value"] == 0).all() and (hashes["value"] > 0).any()
    similar = found[found["metric"] == "own_similarity"].set_index(["method", "condition"])["value"]
    assert similar["identity", "none"] == pytest.approx(1)
    assert similar["smoothed_steps", "none"] < similar["random_sign", "none"] < 1
    assert ("smoothed_steps", "posterise_8") in similar.index
    unlike = found[found["metric"] == "unlike_own"].set_index(["method", "condition"])["value"]
    assert unlike["identity", "none"] == 0 <= unlike.min() and unlike.max() <= 1
    mean = found[found["metric"] == "mean_255"].set_index("method")["value"]
    assert mean["identity"] == 0 < mean["smoothed_steps"] <= 8 and 7 < mean["random_sign"] <= 8


@pytest.mark.slow
def test_an_attacker_of_ones_own_is_asked(place: Path) -> None:
    found = measured(place, "synthetic", "my_poisoning")
    rates = found[found["judge"] == "nearest_mean"]
    assert set(rates["method"]) == {"identity", "random_sign", "smoothed_steps"}
    assert (rates["status"] == "ok").any()


@pytest.mark.slow
def test_an_onlooker_of_ones_own_looks_at_what_is_published(place: Path) -> None:
    found = measured(place, "synthetic", "my_veils")
    rates = found[found["metric"] == "found_colours"].set_index(["method", "condition"])["value"]
    assert set(rates.index) == {
        (method, f"held_{held}") for method in ("identity", "random_sign", "mosaic") for held in (1, 2)
    }
    assert rates["mosaic", "held_1"] == rates["identity", "held_1"], "a mosaic keeps the colours of its cells"


def test_every_file_of_the_examples_is_used_and_every_kind_of_part_has_one() -> None:
    shown = files(ADDING, "python", "yaml")
    text = "\n".join([*shown.values(), *(command.text for command in commands(ADDING))])
    for name in shown:
        assert re.search(rf"\b{Path(name).stem}\b", text.replace(name, "")), f"{name} is never used"
    groups = {Path(name).parent.name for name in shown if name.startswith("my_conf/")}
    assert groups == {"method", "model", "dataset", "transform", "protocol", "experiment", "attacker", "generator"} | {
        "onlooker",
        "metric",
        "image_metric",
        "attribute_task",
    }


@pytest.mark.parametrize("document", TEXT)
def test_what_a_document_names_is_there(document: str) -> None:
    known = {match for path in TESTS for match in re.findall(r"^def (test_\w+)\(", path.read_text("utf-8"), re.M)}
    prose = re.sub(r"^```.*?^```$", "", TEXT[document], flags=re.DOTALL | re.MULTILINE)
    for name in re.findall(r"`(test_\w+)`", prose):
        assert name in known, f"{document} names {name}"
    for name in re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w./]*)`", prose):
        assert (ROOT / name).exists(), f"{document} names {name}"
    for link, anchor in re.findall(r"\]\(([\w./]*)(?:#([\w-]+))?\)", prose):
        target = (ROOT / "docs" / link).resolve() if link else ROOT / "docs" / document
        assert target.is_file(), f"{document} links {link}"
        heads = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.M) if anchor else []
        assert not anchor or anchor in {head.lower().replace(" ", "-") for head in heads}, f"{document}: #{anchor}"


@pytest.mark.slow
def test_commands_for_clusters_fit_the_launchers() -> None:
    from hydra_plugins.hydra_joblib_launcher.config import JobLibLauncherConf
    from hydra_plugins.hydra_submitit_launcher.config import LocalQueueConf, SlurmQueueConf

    known = {"joblib": JobLibLauncherConf, "submitit_local": LocalQueueConf, "submitit_slurm": SlurmQueueConf}
    sweeps = [command.text.split()[2:] for command in commands("docs/cluster.md")]
    launchers = [word.partition("=")[2] for words in sweeps for word in words if word.startswith("hydra/launcher=")]
    assert launchers == list(known)
    for launcher, words in zip(launchers, sweeps, strict=True):
        jobs = sweep_jobs(words)
        for job in {jobs[0], jobs[-1]}:
            check_sweep(job)
        own = [word.partition("=")[0] for word in words if word.startswith("hydra.launcher.")]
        assert {key.removeprefix("hydra.launcher.") for key in own} <= {one.name for one in fields(known[launcher])}


def test_rooms_and_floors_are_those_of_the_layer_test() -> None:
    tree = ast.parse((ROOT / "tests" / "test_architecture.py").read_text("utf-8"))
    [value] = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "FLOORS"
    ]
    floors = {(number, room) for number, rooms in enumerate(ast.literal_eval(value)) for room in rooms}
    rows = re.findall(r"^\| (\d) \| `(\w+)` \|", TEXT["architecture.md"], re.M)
    assert {(int(floor), room) for floor, room in rows} == floors
    assert len(rows) == len(floors)
    assert {room for _, room in floors} == {path.parent.name for path in (ROOT / "bench").glob("*/__init__.py")}


def test_every_invariant_names_a_test_and_docstrings_cite_only_those_there_are() -> None:
    section = TEXT["architecture.md"].partition("## Invariants")[2].partition("\n## ")[0]
    numbered = re.split(r"^(\d+)\. ", section, flags=re.M)[1:]
    invariants = dict(zip(map(int, numbered[::2]), numbered[1::2], strict=True))
    assert list(invariants) == list(range(1, len(invariants) + 1))
    for number, text in invariants.items():
        assert "`test_" in text, f"invariant {number} names no test"
    for path in MODULES:
        for number in re.findall(r"\binvariant (\d+)", path.read_text("utf-8")):
            assert int(number) in invariants, f"{path.relative_to(ROOT)} cites invariant {number}"


def test_numbers_of_checks_are_explained() -> None:
    source = (ROOT / "methods" / "conformance.py").read_text("utf-8")
    assert set(re.findall(r"\bO-\d+", source)) == set(re.findall(r"^\| (O-\d+) \|", TEXT["architecture.md"], re.M))


def test_every_term_is_explained_once() -> None:
    terms = re.findall(r"^\| ([^|]+?) \| ", TEXT["terms.md"], re.M)
    terms = [term for term in terms if term not in ("Term", "---")]
    assert len(terms) == len(set(terms))
    states = [value for name, value in vars(status).items() if name.isupper()]
    assert set(states) | set(ROLES) <= set(terms)
    for word in (*get_args(Scope), "protocol", "judge", "condition", "cell", "chunk", "unit", "question", "budget"):
        assert word in TEXT["terms.md"]
    for folder in (ROOT / "bench" / "protocols").iterdir():
        if (folder / "protocol.py").is_file() and folder.name != "recognition":  # what two protocols share
            assert folder.name in terms


def test_docstrings_cite_only_what_is_in_the_repository() -> None:
    said = [
        f"{path.relative_to(ROOT)} says {found[0]!r}"
        for path in (*MODULES, *TESTS)
        if path != Path(__file__) and (found := NOT_HERE.search(path.read_text("utf-8")))
    ]
    assert not said, "cite docs/architecture.md, or say it in words"


def test_modules_begin_by_naming_the_artefact() -> None:
    for path in MODULES:
        source = path.read_text("utf-8")
        first = (ast.get_docstring(ast.parse(source)) or "").partition(" ")[0]
        assert first not in RIDDLES, f"{path.relative_to(ROOT)} begins with {first}: name what the module is"
        assert first or not source.strip(), f"{path.relative_to(ROOT)} has no docstring"
