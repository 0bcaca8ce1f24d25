"""A folder of tiny wheels that stands for a package index, and a tiny project that is locked to some of them."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "scripts"

_BACKEND = """
import zipfile


def build_editable(folder, settings=None, metadata=None):
    name = "cloakbench-0-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        wheel.writestr("cloakbench/__init__.py", "")
        wheel.writestr("cloakbench/bench/__init__.py", "")
        wheel.writestr("cloakbench/bench/cli/main.py", "")
        wheel.writestr("cloakbench-0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: cloakbench\\nVersion: 0\\n")
        wheel.writestr("cloakbench-0.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr("cloakbench-0.dist-info/RECORD", "")
    return name


build_wheel = build_editable
"""


def add_wheel(index: Path, name: str, version: str, *, needs: tuple[str, ...] = (), extra: str = "") -> str:
    """Put a wheel with one module that says its version into ``index``; returns its line of a lock."""
    info = f"{name}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    metadata += [f"Requires-Dist: {need}" for need in needs]
    metadata += [f"Provides-Extra: {extra}"] if extra else []
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": "\n".join(metadata) + "\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_digest(text)},{len(text)}\n" for path, text in files.items())
    path = index / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for member, text in files.items():
            wheel.writestr(member, text)
        wheel.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
    return f"{name}=={version} \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def make_project(folder: Path) -> Path:
    """A project with the environment script of this one, locked to tiny packages of which newer releases exist.

    ``wants`` needs ``coverage[toml]``: pips up to 23.2 look that up beside the lock. Returns the index.
    """
    index = folder / "index"
    index.mkdir(parents=True)
    (folder / "scripts").mkdir()
    (folder / "scripts" / "environment.sh").write_text((SCRIPTS / "environment.sh").read_text(), encoding="utf-8")
    (folder / "backend.py").write_text(_BACKEND, encoding="utf-8")
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "cloakbench"\nversion = "0"\n',
        encoding="utf-8",
    )
    lock = [
        add_wheel(index, "coverage", "7.0", extra="toml"),
        add_wheel(index, "setuptools", "84.0"),
        add_wheel(index, "torch", "2.0"),
        add_wheel(index, "torchvision", "0.2", needs=("torch==2.0",)),
        add_wheel(index, "wants", "1.0", needs=("coverage[toml]>=7",)),
    ]
    (folder / "requirements.lock").write_text("".join(lock), encoding="utf-8")
    (folder / "requirements-test.lock").write_text(add_wheel(index, "linter", "3.0"), encoding="utf-8")
    for name, version in (("coverage", "7.1"), ("setuptools", "85.0"), ("wants", "1.1"), ("linter", "3.1")):
        add_wheel(index, name, version, extra="toml" if name == "coverage" else "")
    return index


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
