"""A new user's place: a fresh copy of the project, an environment that holds it and nothing of ours, an own shell."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]

_KEPT = ("HOME", "LANG", "TMPDIR", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


@dataclass
class Newcomer:
    """Runs commands in ``clone``; what a shell remembers between lines is remembered here.

    The packages come from the environment of the tests, since installing them again takes minutes; CloakBench itself
    is installed from the copy, by its own build backend. Neither ``PYTHONPATH`` nor the test plug-ins are there.
    """

    clone: Path
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, command: str, folder: Path | None = None, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """One line of a shell, in ``folder`` (the clone by default); ``export`` and activation last."""
        script = f"set -e; {command}\nstatus=$?; env -0 > '{self.clone}/.shell-state'; exit $status"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=folder or self.clone,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )
        state = self.clone / ".shell-state"
        if state.exists():
            pairs = [pair.partition("=") for pair in state.read_text(encoding="utf-8").split("\0") if pair]
            self.environment = {name: value for name, _, value in pairs if name not in ("_", "SHLVL", "PWD", "OLDPWD")}
            state.unlink()
        return done


def settle(folder: Path) -> Newcomer:
    """Copy the project to ``folder/clone`` and give it an environment."""
    clone = folder / "clone"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, clone / name)
    _install(clone)
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    outside = os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if ".venv" not in part)
    return Newcomer(clone, {**kept, "PATH": outside, "CLOAKBENCH_OFFLINE": "1", "HF_HUB_OFFLINE": "1"})


def _install(clone: Path) -> None:
    """What ``scripts/environment.sh`` leaves behind, with the packages of this environment."""
    venv = clone / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    packages = next((venv / "lib").glob("python*")) / "site-packages"
    (packages / "packages.pth").write_text("\n".join(_package_folders()), encoding="utf-8")
    python = venv / "bin" / "python"
    build = f"from setuptools import build_meta; build_meta.build_editable({str(venv)!r})"
    subprocess.run([python, "-c", build], cwd=clone, check=True, capture_output=True)
    [wheel] = venv.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    command = venv / "bin" / "cloakbench"
    lines = (
        "import sys",
        "from cloakbench.bench.cli.main import main",
        "if __name__ == '__main__':",
        "    sys.exit(main())",
    )
    command.write_text("\n".join((f"#!{python}", *lines, "")), encoding="utf-8")
    command.chmod(0o755)
    for mark in ("made-by-cloakbench", "ready-bench", "ready-test"):
        (venv / mark).touch()


def _package_folders() -> list[str]:
    """Where this environment keeps its packages; an environment may itself build on another."""
    known = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    return sorted(known | {part for part in sys.path if part.endswith("site-packages")})
