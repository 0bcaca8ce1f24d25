"""What is released agrees with itself: versions, Pythons, and the tools that check a commit."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def read_yaml(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text("utf-8"))


def test_one_version_everywhere() -> None:
    assert read_yaml("CITATION.cff")["version"] == PROJECT["version"]
    headings = re.findall(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert headings[0] == PROJECT["version"]
    assert headings == sorted(headings, key=lambda text: [int(part) for part in text.split(".")], reverse=True)


def test_the_pythons_that_are_promised_are_those_that_are_tested() -> None:
    promised = re.findall(r"^Programming Language :: Python :: (3\.\d+)$", "\n".join(PROJECT["classifiers"]), re.M)
    first, behind = (int(part) for part in re.findall(r"3\.(\d+)", PROJECT["requires-python"]))
    assert promised == [f"3.{minor}" for minor in range(first, behind)]
    jobs = read_yaml(".github/workflows/ci.yml")["jobs"]
    for job in ("test", "package"):
        assert jobs[job]["strategy"]["matrix"]["python"] == promised
    assert "make test PYTHON=python" in [step.get("run") for step in jobs["test"]["steps"]]
    said = re.search(r"^Python (.*?) on Linux", (ROOT / "README.md").read_text("utf-8"), re.M)
    assert said and re.findall(r"3\.\d+", said[1]) == promised


def test_a_commit_is_checked_by_the_locked_tools() -> None:
    lock = (ROOT / "requirements-test.lock").read_text("utf-8")
    hooks = read_yaml(".pre-commit-config.yaml")["repos"][0]["hooks"]
    pinned = {pin for hook in hooks for pin in hook.get("additional_dependencies", ())}
    assert pinned, "ruff is pinned"
    for pin in pinned:
        assert f"\n{pin} " in lock, f"{pin} is not the version of requirements-test.lock"


def test_containers_run_what_the_readme_says_and_files_that_exist() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    for name in re.findall(r"sh (scripts/\S+)", dockerfile):
        assert (ROOT / name).is_file()
    assert dockerfile.count('CMD ["make", "smoke"]') == 2
    assert re.findall(r"^FROM \S+ AS (\w+)", dockerfile, re.M)[-1] == "cpu", "what is built without --target"
    [pattern] = re.findall(r"sed -n 's/(.*?)/\\1/p'", dockerfile)
    spelling = pattern.replace("\\(", "(").replace("\\)", ")").replace("\\{0,1\\}", "?")
    found = re.findall(spelling, (ROOT / "requirements.lock").read_text("utf-8"), re.M)
    assert [line[0].partition("==")[0] for line in found] == ["torch", "torchvision"]
