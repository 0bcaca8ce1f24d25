"""Runs, sweeps and reports as a user starts them: what is on the disk and on the screen when they end, well or ill."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from one_error import one_error

from cloakbench.bench.cli.main import main
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.screen import Screen

pytestmark = pytest.mark.usefixtures("pdf_left_out")

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"
FEW = ("dataset.identities=2", "dataset.distractors=4", "dataset.impostor_identities=0")
Cloakbench = Callable[..., subprocess.CompletedProcess[str]]


class Malicious:
    """Unpickling this would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return (os.mkdir, (str(self.path),))


def called(words: list[str], capfd: pytest.CaptureFixture[str]) -> subprocess.CompletedProcess[str]:
    """A call of the command in this process, with the test plug-ins."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["cloakbench"])
        status = main([*words, "--config-dir", str(CONFIG_DIR)])
    return subprocess.CompletedProcess(words, status, *capfd.readouterr())


def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, tiny_overrides: list[str]
) -> None:
    trap = tmp_path / "executed"
    weights = tmp_path / "weights.pt"
    weights.write_bytes(pickle.dumps(Malicious(trap)))
    words = [
        *tiny_overrides,
        "model@target=checkpoint",
        "target.name=mine",
        f"target.weights.path={weights}",
        "target.card.family=x",
        "target.inputs.mean=0.5",
        "target.inputs.std=0.5",
        "target.network._target_=cloakbench.models.backbones.mobilefacenet.MobileFaceNet",
    ]
    assert "safetensors" in one_error(called(words, capfd))
    assert not trap.exists()


def test_a_wrong_digest_is_refused(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, tiny_overrides: list[str]
) -> None:
    weights = tmp_path / "weights.onnx"
    weights.write_bytes(b"not what was promised")
    words = [
        *tiny_overrides,
        "model@target=onnx",
        "target.name=mine",
        f"target.weights.path={weights}",
        f"target.weights.sha256={'0' * 64}",
        "target.card.family=x",
        "target.inputs.mean=0.5",
        "target.inputs.std=0.5",
    ]
    assert "sha256" in one_error(called(words, capfd))


def test_a_run_with_failures_ends_with_status_one_and_keeps_the_rest(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, small_overrides: list[str]
) -> None:
    more = [*FEW, "+method@methods.broken=raises", "+model@targets.tiny_nan=tiny_nan", "methods.pgd.steps=1"]
    done = called([*small_overrides, *more], capfd)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert any("broken" in line and "this method always fails" in line for line in errors)
    assert any("tiny_nan returned NaN" in line for line in errors)
    assert "runtime.retry_failed=true" in errors[-1]
    [report] = (tmp_path / "results" / "runs").glob("*/report.md")
    assert "this method always fails" in report.read_text(encoding="utf-8")


def test_a_sweep_shares_the_store_and_ends_in_one_table_and_curve(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, small_overrides: list[str]
) -> None:
    done = called(["-m", *small_overrides, *FEW, "method=pgd,fgsm", "method.epsilon_255=2,8"], capfd)
    assert done.returncode == 0, done.stderr
    [sweep] = (tmp_path / "results" / "sweeps").iterdir()
    assert (sweep / "figures" / "psr_dots.pdf").exists()
    table = (sweep / "tables" / "measurements.csv").read_text(encoding="utf-8")
    for method in ("pgd", "fgsm"):
        for epsilon in ("2", "8"):
            assert any(f"{method},,{epsilon}" in line for line in table.splitlines())
    assert len(list((tmp_path / "results" / "runs").iterdir())) == 4


@pytest.mark.slow
@pytest.mark.usefixtures("figures_left_out")
def test_a_sweep_over_lists_of_budgets_has_them_in_the_table(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, small_overrides: list[str]
) -> None:
    done = called(["-m", *small_overrides, *FEW, "method=fgsm", "epsilons_255=[4],[8]"], capfd)
    assert done.returncode == 0, done.stderr
    [sweep] = (tmp_path / "results" / "sweeps").iterdir()
    lines = (sweep / "tables" / "measurements.csv").read_text(encoding="utf-8").splitlines()
    assert all(any(f"fgsm,,{budget}" in line for line in lines) for budget in ("4", "8"))


@pytest.mark.slow
@pytest.mark.usefixtures("figures_left_out")
def test_a_job_of_a_sweep_that_fails_does_not_stop_the_others(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, small_overrides: list[str]
) -> None:
    done = called(["-m", *small_overrides, *FEW, "method=raises,fgsm"], capfd)
    assert done.returncode == 1
    assert "error: sweep job 0: " in done.stderr
    assert "this method always fails" in done.stderr
    [sweep] = (tmp_path / "results" / "sweeps").iterdir()
    assert (sweep / "report.md").exists()


def name_kept(name: str, results: Path, done: subprocess.CompletedProcess[str]) -> Path:
    """The folder of the one run, which its call names as it is written."""
    assert done.returncode == 0, done.stderr
    assert f"{name} on " in done.stdout
    [run] = (results / "runs").iterdir()
    assert f"Report written: {run}/report.md" in done.stdout
    assert (run / "report.md").exists()
    return run


@pytest.mark.slow
@pytest.mark.usefixtures("figures_left_out")
def test_a_run_keeps_its_name_on_a_terminal_of_few_signs(
    cloakbench: Cloakbench,
    tmp_path: Path,
    small_overrides: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Results in a folder with signs, a name with markup and a slash, and a terminal that takes ASCII only."""
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    results = tmp_path / "old [2]" / "[bold]r,1"
    words = [*small_overrides, f"paths.results={results}", *FEW, "methods.pgd.steps=1", "name=a[/b]"]
    run = name_kept("a[/b]", results, cloakbench(*words))
    assert main(["report", "a[/b]", f"paths.results={results}"]) == 0
    assert run.name in capfd.readouterr().out.splitlines()[0]


def finished(runs: Path, name: str, age: int) -> Path:
    """What is left of a run, as far as its name goes."""
    about = runs / name / "data" / "about.json"
    about.parent.mkdir(parents=True)
    about.write_text("{}")
    os.utime(about, (time.time() - age, time.time() - age))
    return runs / name


def test_report_says_which_of_several_runs_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cloakbench.bench.cli.report import find_run

    monkeypatch.chdir(tmp_path)
    runs = tmp_path / "runs"
    old, new = finished(runs, "bench-00000001", 99), finished(runs, "bench-00000002", 9)
    finished(runs, "bench2-00000003", 1)
    (runs / "bench-00000004").mkdir()
    (tmp_path / "bench").mkdir()  # a folder that is no run, as in a clone of this project
    screen = Screen(file=io.StringIO(), width=200)
    assert find_run("bench", runs, screen) == new
    said = screen.file.getvalue()  # type: ignore[attr-defined]
    assert new.name in said
    assert f"there are also {old.name}" in said
    assert "bench2" not in said
    assert find_run("bench2", runs, screen).name == "bench2-00000003"
    assert find_run(old.name, runs, screen) == old
    assert find_run(str(old), runs, screen) == old
    with pytest.raises(ConfigError, match=r"no run 'x'; finished runs in .*/runs: bench2-00000003, bench-00000002"):
        find_run("x", runs, screen)
    with pytest.raises(ConfigError, match="is not finished"):
        find_run("bench-00000004", runs, screen)


@pytest.mark.slow
def test_the_report_of_a_run_can_be_written_again(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, small_overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name reads as a number, and stays as it was typed."""
    done = called([*small_overrides, *FEW, "methods.pgd.steps=1", "name=2024"], capfd)
    run = name_kept("2024", tmp_path / "results", done)
    before = {path: path.read_bytes() for path in (run / "tables").iterdir()}
    shutil.rmtree(run / "tables")
    assert not (run / "figures").exists(), "the tiny experiment leaves them out"
    monkeypatch.setenv("CLOAKBENCH_RESULTS", str(tmp_path / "results"))
    assert main(["report", "2024"]) == 0
    assert run.name in capfd.readouterr().out.splitlines()[0]
    assert {path: path.read_bytes() for path in (run / "tables").iterdir()} == before
    assert (run / "figures" / "psr_dots.pdf").exists()


@pytest.mark.slow
def test_ctrl_c_is_one_line_and_the_next_run_continues(
    tmp_path: Path, small_overrides: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-m", "cloakbench.bench.cli.main", *small_overrides[:-1], *FEW, "runtime.workers=1"]
    command += ["--config-dir", str(CONFIG_DIR)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    store = tmp_path / "results" / "store" / "protected"
    deadline = time.monotonic() + 120
    while not list(store.rglob("*.zip")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again to continue" in errors
    assert "Traceback" not in errors
    assert list(store.rglob("*.zip"))
    assert called([*small_overrides, *FEW], capfd).returncode == 0
