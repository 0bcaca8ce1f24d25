"""What the README shows is what the project has: the example method runs, the generated parts are current."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from cloakbench.bench.composition import compose_config, group_options, split_config_dirs

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def refresh() -> ModuleType:
    spec = importlib.util.spec_from_file_location("refresh_readme", ROOT / "scripts" / "refresh_readme.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_generated_parts_are_current(refresh: ModuleType) -> None:
    assert refresh.filled(README) == README, "run make readme"


def test_the_example_method_of_the_readme_passes_the_conformance_suite(tmp_path: Path) -> None:
    [code], [yaml] = blocks("python"), blocks("yaml")
    (tmp_path / "my_package.py").write_text(code, encoding="utf-8")
    config = tmp_path / "my_conf" / "method" / "away_from_myself.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(yaml, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "cloakbench.bench.cli", "check", "method=away_from_myself", "--config-dir", "my_conf"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def commands() -> list[str]:
    """Every ``cloakbench`` line of the README's plain blocks that runs an experiment, continuation lines joined."""
    text = "\n".join(re.findall(r"```\n(.*?)```", README, re.DOTALL)).replace("\\\n", " ")
    lines = [line.partition("#")[0].strip() for line in text.splitlines() if line.startswith("cloakbench ")]
    verbs = ("report", "list", "check", "verify", "calibrate", "doctor", "fetch", "protect", "zoo", "perf")
    return [line for line in lines if line.split()[1] not in verbs and "my_conf" not in line]


@pytest.mark.parametrize("command", commands())
def test_every_experiment_command_of_the_readme_composes(command: str) -> None:
    _, words = split_config_dirs(command.split()[1:])
    overrides = [word.split(",")[0] for word in words if not word.startswith("-")]
    config = compose_config(overrides)
    assert config.targets or config.poisoning


def test_every_recogniser_has_its_row() -> None:
    zoo = re.findall(r"^\| `(\w+)` \|", README.partition("<!-- zoo:end -->")[0], re.MULTILINE)
    families = README.partition("<!-- zoo:end -->")[2].partition("\n## ")[0]
    rows = [row.split("|") for row in families.splitlines() if row.startswith("|")]
    assert sorted(zoo + [name for row in rows for name in re.findall(r"`(\w+)`", row[2])]) == group_options("model")
    for row in rows:
        for name in re.findall(r"`(\w+)`", row[2]):
            text = (ROOT / "conf" / "model" / f"{name}.yaml").read_text(encoding="utf-8")
            assert ("\n    - https://" in text) == (row[3].strip() == "fetched"), name


def test_the_protect_commands_of_the_readme_compose() -> None:
    text = "\n".join(re.findall(r"```\n(.*?)```", README, re.DOTALL)).replace("\\\n", " ")
    lines = [line.partition("#")[0].split()[2:] for line in text.splitlines() if line.startswith("cloakbench protect ")]
    assert lines
    for words in lines:
        assert compose_config(words, "protect").method_key


def commands_about_one_recogniser() -> list[str]:
    """Every ``cloakbench`` line of the README's plain blocks that names a recogniser after a verb."""
    text = "\n".join(re.findall(r"```\n(.*?)```", README, re.DOTALL))
    return [line.partition("#")[0].strip() for line in text.splitlines() if re.match(r"cloakbench \w+ model=", line)]


@pytest.mark.parametrize("command", commands_about_one_recogniser())
def test_every_command_about_one_recogniser_composes(command: str) -> None:
    _, verb, *words = command.split()
    if "dataset=lfw" in words and not (ROOT / "conf" / "dataset" / "lfw.yaml").exists():
        pytest.skip("no such data set")
    assert compose_config(words, {"check": "recogniser"}.get(verb, verb)).model.name


def test_every_make_target_of_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"`?make ([a-z-]+)", README)) - {"it"}
    assert named <= targets | {"target"}
