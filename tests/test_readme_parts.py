"""The generated parts of the README are current, and its tables name what exists."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from cloakbench.bench.config.compose import group_options

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_generated_parts_are_current() -> None:
    spec = importlib.util.spec_from_file_location("refresh_readme", ROOT / "scripts" / "refresh_readme.py")
    assert spec is not None
    assert spec.loader is not None
    refresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(refresh)
    assert refresh.filled(README) == README, "run make readme"


def test_every_recogniser_has_its_row() -> None:
    zoo = re.findall(r"^\| `(\w+)` \|", README.partition("<!-- zoo:end -->")[0], re.MULTILINE)
    families = README.partition("<!-- zoo:end -->")[2].partition("\n## ")[0]
    rows = [row.split("|") for row in families.splitlines() if row.startswith("|")]
    assert sorted(zoo + [name for row in rows for name in re.findall(r"`(\w+)`", row[2])]) == group_options("model")
    for row in rows:
        for name in re.findall(r"`(\w+)`", row[2]):
            text = (ROOT / "conf" / "model" / f"{name}.yaml").read_text(encoding="utf-8")
            assert ("\n    - https://" in text) == (row[3].strip() == "fetched"), name


def test_every_make_target_of_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z- ]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    known = {word for line in targets for word in line.split()}
    named = set(re.findall(r"`make ([a-z-]+)", README))
    assert named <= known
