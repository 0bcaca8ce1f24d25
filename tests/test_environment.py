"""The environment builds with every installer from the lock alone, whatever newer releases there are; no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_index import add_wheel, make_project

INSTALLERS = ["pip", pytest.param("uv", marks=pytest.mark.skipif(not shutil.which("uv"), reason="no uv on the path"))]


class Project:
    """A tiny project in a folder, its index, and the script that builds its environment."""

    def __init__(self, folder: Path, installer: str) -> None:
        self.folder = folder
        self.index = make_project(folder)
        self.venv = folder / "venv"
        hidden = folder / "path"  # what a user has on the path, with uv or without
        hidden.mkdir()
        wanted = ["sh", "awk", "cat", "mktemp", "rm", "touch", "mkdir", "ln", "uname", "dirname", "grep", "env", "ls"]
        for tool in wanted + (["uv"] if installer == "uv" else []):
            (hidden / tool).symlink_to(str(shutil.which(tool)))
        self.environment = {
            "PATH": str(hidden),
            "HOME": str(folder),
            "PYTHON": sys.executable,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.index),
            "PIP_CONFIG_FILE": os.devnull,
            "UV_OFFLINE": "1",
            "UV_NO_INDEX": "1",
            "UV_NO_CONFIG": "1",
            "UV_FIND_LINKS": str(self.index),
            "UV_CACHE_DIR": str(folder / "cache"),
        }

    def build(self, layer: str = "bench", **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "scripts/environment.sh", str(self.venv), layer],
            cwd=self.folder,
            env=self.environment | more,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def version(self, module: str) -> str:
        done = subprocess.run(
            [self.venv / "bin" / "python", "-c", f"import {module}; print({module}.VERSION)"],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.strip()

    def own(self, empty: Path) -> None:
        """Make an environment as a user would, with another torch than the locked one."""
        shutil.copytree(empty, self.venv, symlinks=True)
        wanted = {"torch": "9.9", "torchvision": "9.1"}
        for name, version in wanted.items():
            add_wheel(self.index, name, version)
        pip = [self.venv / "bin" / "python", "-m", "pip", "install", "--quiet"]
        pip += [f"{name}=={version}" for name, version in wanted.items()]
        subprocess.run(pip, env=self.environment, check=True)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with pip alone; each takes seconds to make, and no time to copy."""
    folder = tmp_path_factory.mktemp("empty") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project", "pip")


def copying(python: Path, empty: Path) -> str:
    """A Python whose ``-m venv`` copies an environment, for tests of what happens after that."""
    python.write_text(
        f"""#!/bin/sh
case "$1 $2" in
    '-m venv') exec {shutil.which("cp")} -R '{empty}/.' "$3" ;;
    *) exec '{sys.executable}' "$@" ;;
esac
"""
    )
    python.chmod(0o755)
    return str(python)


@pytest.mark.slow
@pytest.mark.parametrize("installer", INSTALLERS)
def test_the_locked_versions_are_installed_although_newer_ones_exist(tmp_path: Path, installer: str) -> None:
    project = Project(tmp_path / "project", installer)
    done = project.build()
    assert done.returncode == 0, done.stderr
    assert (project.version("coverage"), project.version("wants")) == ("7.0", "1.0")
    assert project.version("linter") == ""
    assert (project.venv / "ready-bench").exists()
    assert not (project.venv / "ready-test").exists()
    assert project.build("test").returncode == 0
    assert project.version("linter") == "3.0"
    assert (project.venv / "ready-test").exists()


@pytest.mark.slow
def test_the_index_of_this_test_stops_an_old_pip_that_resolves(project: Project, empty: Path) -> None:
    shutil.copytree(empty, project.venv, symlinks=True)
    python = project.venv / "bin" / "python"
    version = subprocess.run([python, "-m", "pip", "--version"], capture_output=True, text=True, check=True).stdout
    if tuple(int(part) for part in version.split()[1].split(".")[:2]) > (23, 2):
        pytest.skip("this Python brings a pip that looks extras up in the lock")
    pip = [python, "-m", "pip", "install", "--require-hashes", "-r", "requirements.lock"]
    done = subprocess.run(pip, cwd=project.folder, env=project.environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "must have their versions pinned" in done.stderr


@pytest.mark.slow
def test_a_build_that_was_cut_off_is_done_again(project: Project, empty: Path) -> None:
    project.environment["PYTHON"] = copying(project.folder / "python", empty)
    lock = project.folder / "requirements.lock"
    whole = lock.read_text()
    lock.write_text(whole.replace("sha256:", "sha256:0", 1))
    assert project.build().returncode != 0
    assert not (project.venv / "ready-bench").exists()
    assert (project.venv / "bin" / "python").exists()  # half-made, as a killed build leaves it
    lock.write_text(whole)
    done = project.build()
    assert done.returncode == 0, done.stderr
    assert "interrupted" in done.stderr
    assert project.version("coverage") == "7.0"


@pytest.mark.slow
def test_a_build_that_goes_on_is_left_alone_and_one_whose_process_is_gone_is_done_again(
    project: Project, empty: Path
) -> None:
    project.environment["PYTHON"] = copying(project.folder / "python", empty)
    project.venv.mkdir()
    (project.venv / "made-by-cloakbench").touch()
    marker = project.venv / "cloakbench-building"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as builder:
        marker.write_text(f"{builder.pid}\n")
        done = project.build()
        assert done.returncode != 0 and f"process {builder.pid} is building" in done.stderr
        assert marker.exists()
        builder.communicate(b"\n")
    done = project.build()
    assert done.returncode == 0, done.stderr
    assert "interrupted" in done.stderr


def test_an_environment_of_somebody_else_is_never_touched(project: Project, empty: Path) -> None:
    shutil.copytree(empty, project.venv, symlinks=True)
    before = sorted(project.venv.rglob("*"))
    done = project.build()
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "TORCH=keep" in done.stderr
    assert sorted(project.venv.rglob("*")) == before


@pytest.mark.parametrize("installer", INSTALLERS)
def test_a_torch_that_exists_can_be_kept(tmp_path: Path, installer: str, empty: Path) -> None:
    project = Project(tmp_path / "project", installer)
    project.own(empty)
    done = project.build(TORCH="keep")
    assert done.returncode == 0, done.stderr
    assert (project.version("torch"), project.version("torchvision")) == ("9.9", "9.1")
    assert project.version("wants") == "1.0"


@pytest.mark.slow
def test_a_cut_off_build_never_removes_an_environment_that_is_kept(project: Project, empty: Path) -> None:
    project.own(empty)
    lock = project.folder / "requirements.lock"
    whole = lock.read_text()
    lock.write_text(whole.replace("sha256:", "sha256:0", 1))
    assert project.build(TORCH="keep").returncode != 0
    lock.write_text(whole)
    assert project.build(TORCH="keep").returncode == 0
    assert project.version("torch") == "9.9"


def test_a_folder_that_holds_something_else_is_left_alone(project: Project) -> None:
    """It would become ours, and a build that is cut off in it would then be removed with all it holds."""
    project.venv.mkdir()
    (project.venv / "photo.jpg").touch()
    done = project.build()
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "holds something else; name a folder of its own with VENV=FOLDER" in line
    assert [path.name for path in project.venv.iterdir()] == ["photo.jpg"]


def test_wishes_that_cannot_be_met_are_one_line(project: Project) -> None:
    for more, said in (
        ({"TORCH": "keep"}, "there is none"),
        ({"TORCH": "cpu"}, "only TORCH=keep is known"),
        ({"PYTHON": "no-such-python"}, "PYTHON=python3.12"),
    ):
        done = project.build(**more)
        assert done.returncode == 1
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert not project.venv.exists()
