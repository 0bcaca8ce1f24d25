"""Every command of the documents runs as written, in a newcomer's place.

A newcomer has a fresh copy, an environment, the files that a document shows, and nothing else: no ``PYTHONPATH``, no
test plug-ins, no network. Long commands get settings that make their work small (`SMALLER`); commands that need what a
newcomer must bring (photos, weights) get it where the pack of real faces is, and must otherwise say so in one line.

That takes minutes, as each command starts a Python of its own: all but those of `make` are slow
tests. What every command asks for is composed and planned in this process, in seconds.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from documents import DOCUMENTS, Command, commands, files
from newcomer import Newcomer, settle
from real_pack import PACK

from cloakbench.bench.cli.main import main
from cloakbench.bench.cli.running.sweep_jobs import check_sweep
from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.experiment.dry_run import describe_work

FEW_PEOPLE = (
    "dataset.identities=4 dataset.references_per_identity=2 dataset.probes_per_identity=2 dataset.distractors=20 "
    "dataset.auxiliary_identities=4 dataset.impostor_identities=20"
)
SMALLER = (
    # Experiments are built whole (faces, models, methods, plan) and stop where their work would begin.
    (r"cloakbench (-m )?experiment=(?!smoke|real_faces)", f"{FEW_PEOPLE} runtime.dry_run=true"),
    (r"cloakbench experiment=real_faces", "runtime.dry_run=true"),
    (r"cloakbench method=", f"{FEW_PEOPLE} runtime.dry_run=true"),
    (r"cloakbench export ", FEW_PEOPLE),
    (r"cloakbench -m experiment=smoke", f"{FEW_PEOPLE} statistics.resamples=50 report.figures=false"),
    (r"cloakbench experiment=smoke(?! --help)", f"{FEW_PEOPLE} statistics.resamples=50"),
    (r"make bench", f"ARGS='{FEW_PEOPLE} runtime.dry_run=true'"),
    (
        r"cloakbench zoo",
        "only=[cosface_mobilenet] members.cosface_mobilenet.training.epochs=1 "
        "members.cosface_mobilenet.faces.identities=4 members.cosface_mobilenet.faces.images_per_identity=20 "
        "evaluation.identities=40 evaluation.distractors=20",
    ),
    (
        r"cloakbench generator",
        "workers=1 recipe.faces.identities=4 recipe.faces.images_per_identity=4 recipe.critic.training.epochs=1 "
        "recipe.critic.training.batch_size=8 recipe.training.steps=2 recipe.training.batch_size=4",
    ),
    (
        r"cloakbench views",
        "evaluation.identities=4 evaluation.probes_per_identity=5 count=4 statistics.resamples=20 rows=2",
    ),
    (r"cloakbench perf", "people=2 photos=2 repeats=1 growth=2 only=[peers]"),
    (r"cloakbench verify model=cosface_ir$", "dataset.identities=24 dataset.distractors=20"),
    (r"cloakbench calibrate model=cosface_ir$", "dataset.identities=4 dataset.distractors=20"),
    (r"cloakbench check model=cosface_ir$", "dataset.identities=12 dataset.distractors=20"),
    # These call the commands above or the tests themselves; that make knows how is all that is left to see.
    (r"make (?!bench)", "--dry-run"),
)
ELSEWHERE = ("cloakbench check all",)
"""Takes minutes; ``tests/bench/test_commands.py`` runs it through the same parser on a few methods and networks."""
PUBLISHED = ("mobilefacenet_", "experiment=real_faces")
"""What needs weights that somebody else has published; they are here only beside the pack of real faces."""
LACKING = (
    # What a newcomer does not have, and what the command must then say.
    (r"dataset=lfw", r"cloakbench fetch dataset=lfw|CLOAKBENCH_OFFLINE|get it from"),
)


QUICK = re.compile(r"make ")
"""Commands that run as written in every test run; the others do in the slow one."""
OF_A_READER = re.compile(r"experiment=real_faces|method=precomputed")
"""Experiments that cannot be planned before a reader has brought photos."""
WITHOUT_CONFIG = ("report", "list", "doctor")


def blocks() -> Iterator[tuple[str, list[Command]]]:
    """Commands that stand together, with a name for the test."""
    for document in DOCUMENTS:
        lines = commands(document)
        together = groupby(enumerate(lines), key=lambda pair: pair[1].block)
        for number, (_, some) in enumerate(together):
            yield f"{document}-{number}", [command for _, command in some]


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Newcomer:
    return settle(tmp_path_factory.mktemp("newcomer"))


def with_speed() -> Iterator[Any]:
    """The blocks, of which those with a command that is not `QUICK` are slow tests."""
    for name, block in blocks():
        slow = not all(QUICK.match(command.text) for command in block)
        yield pytest.param(name, block, id=name, marks=pytest.mark.slow if slow else ())


@pytest.mark.parametrize(("name", "block"), list(with_speed()))
def test_commands_run_as_written(name: str, block: list[Command], newcomer: Newcomer, tmp_path: Path) -> None:
    reader = Newcomer(newcomer.clone, dict(newcomer.environment))
    document = block[0].document
    folder = newcomer.clone
    if any("my_conf" in command.text for command in block):
        folder = tmp_path
        write_files(document, tmp_path)
    if not block[0].text.startswith(("make", ". ")):
        reader.run(f". {newcomer.clone}/.venv/bin/activate")
    bring_photos_and_weights(folder)
    for command in block:
        if command.text in ELSEWHERE:
            continue
        more = " ".join(words for pattern, words in SMALLER if re.match(pattern, command.text))
        done = reader.run(f"{command.text} {more}", folder)
        said = f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        assert "Traceback" not in done.stderr, said
        lacking = [line for pattern, line in LACKING if re.search(pattern, command.text)]
        published = any(words in command.text for words in PUBLISHED)
        lacking += [r"weight"] if published and not PACK.is_dir() else []
        if lacking:
            assert done.returncode == 1, said
            assert any(re.search(line, done.stderr) for line in lacking), said
        elif command.text.startswith("cloakbench perf"):  # status 1 says that a bar was missed, as it is at this size
            assert done.returncode in (0, 1), said
            assert "OPOM-ConvexHull" in done.stdout, said
        else:
            assert done.returncode == 0, said


def write_files(document: str, folder: Path) -> None:
    for path, content in {**files(document, "python"), **files(document, "yaml")}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content, encoding="utf-8")


def calls() -> Iterator[Any]:
    """Every call of the command once, whichever blocks it stands in."""
    seen = {command.text: command for _, block in blocks() for command in block}
    prefix = "cloakbench "
    for text, command in seen.items():
        if text.startswith(prefix):
            yield pytest.param(command, id=text.removeprefix(prefix))


@pytest.mark.parametrize("command", list(calls()))
def test_every_command_composes_and_plans(
    command: Command,
    tmp_path: Path,
    faces_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What the words of a command ask for exists and fits together, down to the plan of an experiment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    write_files(command.document, tmp_path)
    words = shlex.split(command.text)[1:]
    small = [*FEW_PEOPLE.split(), f"paths.results={tmp_path}/results", f"paths.cache={faces_cache}"]
    if "--help" in words:
        assert main(words) == 0
    elif words[0] == "-m":
        config, jobs = check_sweep([*words[1:], *small])
        assert jobs > 1
        assert "pieces of work" in describe_work(config)
    elif words[0] in WITHOUT_CONFIG or words[:2] == ["check", "all"]:
        assert main([words[0], "--help"]) == 0
        assert f"cloakbench {words[0]} " in capsys.readouterr().out
    elif "=" not in words[0]:
        assert main([*words, "--cfg", "job"]) == 0
    else:
        folders = ["my_conf"] if words[-1] == "my_conf" else []
        given = words[: words.index("--config-dir")] if folders else words
        config = compose_config([*given, *([] if OF_A_READER.search(command.text) else small)], config_dirs=folders)
        if not OF_A_READER.search(command.text):
            assert "pieces of work" in describe_work(config)


def bring_photos_and_weights(folder: Path) -> None:
    """What the documents call ``photos``, ``other_photos`` and ``weights``, from the pack of real faces."""
    if not PACK.is_dir() or (folder / "photos").exists():
        return
    folders = sorted((PACK / "faces").iterdir())
    people = [path for path in folders if len(list(path.iterdir())) == 5]
    strangers = [path for path in folders if len(list(path.iterdir())) == 1]
    for person in people[:4] + strangers[:6]:
        shutil.copytree(person, folder / "photos" / person.name)
    shutil.copytree(people[0], folder / "my_photos")
    shutil.copytree(people[1], folder / "other_photos")
    (folder / "weights").mkdir()
    for path in (PACK / "weights").iterdir():
        (folder / "weights" / path.name).symlink_to(path)
    (folder / "weights" / "mine.onnx").symlink_to(PACK / "weights" / "mobilefacenet_y1.onnx")


def test_there_are_commands_to_run() -> None:
    assert sum(len(block) for _, block in blocks()) > 30
