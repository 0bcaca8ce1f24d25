"""What a user installs: the wheel imports without the packages of developers, and declares what it uses."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import cloakbench

ROOT = Path(__file__).parents[1]
FOLDERS = ("bench", "conf", "datasets", "methods", "models", "results")
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = DECLARED["project"]

IMPORT_NAMES = {
    "hydra-core": "hydra",
    "pytorch-msssim": "pytorch_msssim",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "facenet-pytorch": "facenet_pytorch",
    "mlflow-skinny": "mlflow",
}
NOT_IMPORTED = {
    "tensorboard": "imported by torch.utils.tensorboard",
    "frbench": "imported when one of its recognisers is asked for",
    "hydra-joblib-launcher": "a plug-in that Hydra finds",
    "hydra-submitit-launcher": "a plug-in that Hydra finds",
}

IMPORT_EVERYTHING = """
import importlib.machinery, pkgutil, sys

wheel, *forbidden = sys.argv[1:]
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in getattr(finder, "__module__", repr(finder))]
sys.path.insert(0, wheel)


class PathWithoutDevelopers(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in forbidden else super().find_spec(name, path, target)


sys.meta_path[:] = [
    PathWithoutDevelopers if finder is importlib.machinery.PathFinder else finder for finder in sys.meta_path
]
import cloakbench

assert cloakbench.__file__.startswith(wheel), cloakbench.__file__
names = [found.name for found in pkgutil.walk_packages(cloakbench.__path__, "cloakbench.")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


BUILD = """
import sys
from setuptools import build_meta

print(getattr(build_meta, sys.argv[1])(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def unpacked_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked, built from a copy of what is packed."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in FOLDERS:
        made = (
            ("runs", "store", "sweeps", "reference", "verify", "views", "zoo", "generator") if name == "results" else ()
        )
        skip = shutil.ignore_patterns("__pycache__", *made)
        shutil.copytree(ROOT / name, source / name, ignore=skip)
    for name in ("docs", "scripts"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.is_file() and path.name != ".coverage":
            shutil.copy(path, source / path.name)
    return _built("build_sdist", source, built)


@pytest.fixture(scope="module")
def wheel(unpacked_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked, built from the source distribution: what that lacks, the wheel lacks, too."""
    return _built("build_wheel", unpacked_source, tmp_path_factory.mktemp("wheel"))


def _built(what: str, source: Path, folder: Path) -> Path:
    """The folder of a distribution that was built and unpacked."""
    made = [sys.executable, "-c", BUILD, what, str(folder)]
    subprocess.run(made, cwd=source, check=True, capture_output=True)
    [archive] = folder.glob("cloakbench-*")
    shutil.unpack_archive(archive, folder / "unpacked", "zip" if archive.suffix == ".whl" else "gztar")
    inside = folder / "unpacked"
    return inside if what == "build_wheel" else next(inside.iterdir())


@pytest.mark.slow
def test_every_module_of_the_wheel_imports_without_the_packages_of_developers(wheel: Path) -> None:
    lock = (ROOT / "requirements-test.lock").read_text(encoding="utf-8")
    developers = {_plain(name) for name in re.findall(r"^([A-Za-z0-9_.-]+)==", lock, re.MULTILINE)}
    forbidden = [
        module
        for module, names in metadata.packages_distributions().items()
        if {_plain(name) for name in names} <= developers
    ]
    assert {"pytest", "hypothesis", "onnxruntime"} <= set(forbidden)
    done = subprocess.run(
        [sys.executable, "-I", "-c", IMPORT_EVERYTHING, str(wheel), *forbidden],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 150


def test_the_wheel_holds_everything_that_is_read_at_run_time(wheel: Path) -> None:
    read = ["conf/config.yaml", "bench/report/style.mplstyle", "results/reported/README.md", "results/register.yaml"]
    for name in (*read, "py.typed", "models/weights/embedded.safetensors", "models/weights/embedded.json"):
        assert (wheel / "cloakbench" / name).is_file(), name
    packed = {path.relative_to(wheel / "cloakbench") for path in (wheel / "cloakbench").rglob("*.py")}
    written = {path.relative_to(ROOT) for name in FOLDERS for path in (ROOT / name).rglob("*.py")}
    assert {path for path in written if path.parts[:2] != ("bench", "api")} <= packed
    assert any((wheel / "cloakbench" / "models" / "weights").glob("*.safetensors"))


def test_the_source_distribution_holds_what_it_takes_to_build_lock_and_document(unpacked_source: Path) -> None:
    for name in (
        "Makefile",
        "requirements.lock",
        "scripts/environment.sh",
        "docs/python.md",
        "CHANGELOG.md",
        "SECURITY.md",
    ):
        assert (unpacked_source / name).is_file(), name
    assert not list(unpacked_source.glob("results/reference/bench")), "the kept run is not part of a package"


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("uv"), reason="no uv on the path")
def test_the_wheel_works_by_its_name_in_an_empty_environment(tmp_path: Path) -> None:
    """Installs torch once more, from uv's cache where it has it, else from the index."""
    tried = ["sh", "scripts/try_wheel.sh", "uv", str(tmp_path), sys.executable]
    done = subprocess.run(tried, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"cloakbench {PROJECT['version']}"
    assert "the wheel works" in done.stdout


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    declared = [*PROJECT["dependencies"]]
    for extra in ("detect", "onnx", "sweep", "frbench", "mlflow", "tensorboard"):
        declared += PROJECT["optional-dependencies"][extra]
    names = {re.split(r"[<>=!~\[ ;]", line, maxsplit=1)[0] for line in declared}
    modules = {IMPORT_NAMES.get(name, name.replace("-", "_")) for name in names}
    imported = {name for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") for name in _imports(path)}
    outside = imported - set(sys.stdlib_module_names) - {"cloakbench"}
    assert outside - modules - _optional_peers() == set()
    unused = {name for name in names if IMPORT_NAMES.get(name, name.replace("-", "_")) not in imported}
    assert unused == set(NOT_IMPORTED)


def test_the_version_is_that_of_the_project() -> None:
    assert cloakbench.__version__ == PROJECT["version"]


def _optional_peers() -> set[str]:
    """Packages that ``make perf`` compares with, and says so where they are missing."""
    lines = [*PROJECT["optional-dependencies"]["peers"], *DECLARED["dependency-groups"]["attacks"]]
    names = {re.split(r"[<>=!~\[ ;]", line, maxsplit=1)[0] for line in lines}
    return {name.replace("-", "_") for name in names}


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
