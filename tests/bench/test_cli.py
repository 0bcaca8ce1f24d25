"""The command line as a user meets it: each mistake is one line that names the remedy, and the exit status says so."""

from __future__ import annotations

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

from cloakbench.bench.cli import main

CONFIG_DIR = Path(__file__).parents[1] / "support" / "conf"
Cloakbench = Callable[..., subprocess.CompletedProcess[str]]


def one_error(done: subprocess.CompletedProcess[str]) -> str:
    """The only error line of a failed call."""
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    return errors[0]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["method=pgdd"], "there is no method called 'pgdd'; did you mean 'pgd'?"),
        (["method=pgd", "method.epsilon_25=4"], "did you mean 'method.epsilon_255'?"),
        (["sed=3"], "there is no setting 'sed'; did you mean 'seed'?"),
        (["experiment=benhc"], "there is no experiment called 'benhc'; did you mean 'bench'?"),
        (["dataset=folder"], "dataset.root"),
        (["dataset=folder", "dataset.root=nowhere"], "nowhere"),
        (["-m", "method=pgd,fgsmm"], "there is no method called 'fgsmm'; did you mean 'fgsm'?"),
        (["frobnicate"], "there is no command 'frobnicate'"),
        (["report", "no-such-run"], "there is no run 'no-such-run'"),
        (["list", "things"], "say what to list"),
        (["check"], "cloakbench check method=NAME"),
        (["check", "model=arcface_irr"], "there is no model called 'arcface_irr'; did you mean 'arcface_ir'?"),
        (["check", "model=onnx"], "set model.card.family=..."),
        (["verify"], "cloakbench verify model=NAME"),
        (["calibrate", "model=mobilefacenet_y1"], "no weight file at"),
        (["experiment=real_faces"], "dataset.root"),
        (["experiment=smoke", "model@target=mobilefacenet_y1"], "no weight file at"),
    ],
)
def test_a_mistake_is_one_line_with_the_remedy(
    cloakbench: Cloakbench, words: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOAKBENCH_RESULTS", str(tmp_path))
    monkeypatch.setenv("CLOAKBENCH_WEIGHTS", str(tmp_path / "weights"))
    assert expected in one_error(cloakbench(*words, plugins=False))


@pytest.mark.parametrize(
    ("verb", "setting"),
    [
        ("report", "RUN"),
        ("list", "methods"),
        ("check", "conformance"),
        ("verify", "drawn_per_fold"),
        ("calibrate", "fars"),
        ("doctor", "time=true"),
        ("fetch", "dataset=NAME"),
        ("protect", "soften_surrogates"),
        ("zoo", "recipe@members"),
    ],
)
def test_each_command_explains_itself(capsys: pytest.CaptureFixture[str], verb: str, setting: str) -> None:
    assert main([verb, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"cloakbench {verb} ") and setting in shown


class Malicious:
    """Unpickling this would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return (os.mkdir, (str(self.path),))


def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(
    cloakbench: Cloakbench, tmp_path: Path, tiny_overrides: list[str]
) -> None:
    trap = tmp_path / "executed"
    weights = tmp_path / "weights.pt"
    weights.write_bytes(pickle.dumps(Malicious(trap)))
    done = cloakbench(
        *tiny_overrides,
        "model@target=checkpoint",
        "target.name=mine",
        f"target.weights.path={weights}",
        "target.card.family=x",
        "target.inputs.mean=0.5",
        "target.inputs.std=0.5",
        "target.network._target_=cloakbench.models.backbones.mobilefacenet.MobileFaceNet",
    )
    assert "safetensors" in one_error(done)
    assert not trap.exists()


def test_a_wrong_digest_is_refused(cloakbench: Cloakbench, tmp_path: Path, tiny_overrides: list[str]) -> None:
    weights = tmp_path / "weights.onnx"
    weights.write_bytes(b"not what was promised")
    done = cloakbench(
        *tiny_overrides,
        "model@target=onnx",
        "target.name=mine",
        f"target.weights.path={weights}",
        f"target.weights.sha256={'0' * 64}",
        "target.card.family=x",
        "target.inputs.mean=0.5",
        "target.inputs.std=0.5",
    )
    assert "sha256" in one_error(done)


def test_a_run_with_failures_ends_with_status_one_and_keeps_the_rest(
    cloakbench: Cloakbench, tmp_path: Path, tiny_overrides: list[str]
) -> None:
    done = cloakbench(
        *tiny_overrides, "+method@methods.broken=raises", "+model@targets.tiny_nan=tiny_nan", "methods.pgd.steps=1"
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stdout
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert any("broken" in line and "this method always fails" in line for line in errors)
    assert any("tiny_nan returned NaN" in line for line in errors)
    assert "runtime.retry_failed=true" in errors[-1]
    [report] = (tmp_path / "results" / "runs").glob("*/report.md")
    assert "this method always fails" in report.read_text(encoding="utf-8") or "method_failed" in report.read_text(
        encoding="utf-8"
    )


def test_a_sweep_shares_the_store_and_ends_in_one_table_and_curve(
    cloakbench: Cloakbench, tmp_path: Path, tiny_overrides: list[str]
) -> None:
    done = cloakbench("-m", *tiny_overrides, "method=pgd,fgsm", "method.epsilon_255=2,8", timeout=600)
    assert done.returncode == 0, done.stderr
    [sweep] = (tmp_path / "results" / "sweeps").iterdir()
    assert (sweep / "figures" / "budget.pdf").exists()
    table = (sweep / "tables" / "measurements.csv").read_text(encoding="utf-8")
    for method in ("pgd", "fgsm"):
        for epsilon in ("2", "8"):
            assert any(f"{method},{epsilon}" in line for line in table.splitlines())
    assert len(list((tmp_path / "results" / "runs").iterdir())) == 4


def test_a_sweep_over_lists_of_budgets_has_them_in_the_table(
    cloakbench: Cloakbench, tmp_path: Path, tiny_overrides: list[str]
) -> None:
    small = ("dataset.identities=2", "dataset.distractors=4", "dataset.impostor_identities=0", "~transforms.jpeg")
    done = cloakbench("-m", *tiny_overrides, *small, "method=fgsm", "epsilons_255=[4],[8]", timeout=600)
    assert done.returncode == 0, done.stderr
    [sweep] = (tmp_path / "results" / "sweeps").iterdir()
    lines = (sweep / "tables" / "measurements.csv").read_text(encoding="utf-8").splitlines()
    assert all(any(f"fgsm,{budget}" in line for line in lines) for budget in ("4", "8"))


def test_a_job_of_a_sweep_that_fails_does_not_stop_the_others(
    cloakbench: Cloakbench, tmp_path: Path, tiny_overrides: list[str]
) -> None:
    done = cloakbench("-m", *tiny_overrides, "method=fgsm", "method.epsilon_255=-1,8", timeout=600)
    assert done.returncode == 1
    assert "method.epsilon_255 is -1: it must be" in done.stderr
    [sweep] = (tmp_path / "results" / "sweeps").iterdir()
    assert (sweep / "report.md").exists()


def test_the_report_of_a_run_can_be_written_again(
    cloakbench: Cloakbench, tmp_path: Path, tiny_overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cloakbench(*tiny_overrides, "methods.pgd.steps=1").returncode == 0
    [run] = (tmp_path / "results" / "runs").iterdir()
    before = {path: path.read_bytes() for path in (run / "tables").iterdir()}
    shutil.rmtree(run / "tables")
    monkeypatch.setenv("CLOAKBENCH_RESULTS", str(tmp_path / "results"))
    done = cloakbench("report", "tiny", plugins=False)
    assert done.returncode == 0, done.stderr
    assert {path: path.read_bytes() for path in (run / "tables").iterdir()} == before


def test_ctrl_c_is_one_line_and_the_next_run_continues(tmp_path: Path, tiny_overrides: list[str]) -> None:
    command = [sys.executable, "-m", "cloakbench.bench.cli", *tiny_overrides[:-1], "runtime.workers=1"]
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
    assert subprocess.run(command, capture_output=True, check=False, timeout=300).returncode == 0


@pytest.mark.parametrize(
    "group", ["methods", "models", "attribute_models", "datasets", "experiments", "transforms", "protocols"]
)
def test_list_names_every_file_of_the_group(cloakbench: Cloakbench, group: str) -> None:
    done = cloakbench("list", group, plugins=False)
    assert done.returncode == 0, done.stderr
    for path in (Path(__file__).parents[2] / "conf" / group.removesuffix("s")).glob("*.yaml"):
        assert path.stem in done.stdout


def test_doctor_says_what_each_experiment_lacks(
    cloakbench: Cloakbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOAKBENCH_WEIGHTS", str(tmp_path))
    done = cloakbench("doctor", plugins=False)
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert "ready" in lines["bench"]
    assert "not yet" in lines["real_faces"]
    assert "dataset.root" in done.stdout


def test_check_holds_a_recogniser_against_its_contract_and_skips_what_needs_faces(cloakbench: Cloakbench) -> None:
    done = cloakbench("check", "model=tiny1")
    assert done.returncode == 0, done.stderr
    rows = {line[:33].strip(): line for line in done.stdout.splitlines()}
    assert "passed" in rows["gradient to the input"]
    assert "skipped" in rows["clean Top-1"]
    assert "no faces at hand" in done.stdout
    failed = cloakbench("check", "model=refusing")
    assert failed.returncode == 1
    assert "this network never answers" in failed.stdout


def test_check_runs_the_conformance_suite(cloakbench: Cloakbench) -> None:
    assert cloakbench("check", "method=pgd").returncode == 0
    failed = cloakbench("check", "method=raises")
    assert failed.returncode == 1
    assert "failed" in failed.stdout
