"""The command line as a user meets it: each mistake is one line that names the remedy, and the exit status says so."""

from __future__ import annotations

import io
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cloakbench.bench.cli.main import main
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.screen import Screen

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"
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
        (["lst"], "there is no command 'lst'; did you mean 'list'?"),
        (["--nope"], "there is no flag '--nope'"),
        (["experiment=smoke", "--workers=3"], "there is no flag '--workers'"),
        (["experiment=smoke", "--config-dir"], "--config-dir needs a folder"),
        (["--"], "there is no flag '--'"),
        (["seed="], "'seed=' has no value"),
        (["-m", "seed=0,,1"], "'seed=0,,1' has an empty value between its commas"),
        (["-m", "seed=range(0,0)"], "has no values to sweep over"),
        (["-m", "seed=interval(0,1)"], "cannot sweep over"),
        (["-m", "method=glob(zz*)"], "has no values to sweep over"),
        (["seed=0,1"], "add -m"),
        (["hydra.run.dir=x"], "hydra.run.dir does nothing here: set paths.results=FOLDER"),
        (["hydra.verbose=true"], "CLOAKBENCH_LOG=DEBUG"),
        (["hydra/launcher=joblib"], "it is for sweeps"),
        (["-m", "seed=0,1", "hydra.sweep.dir=x"], "hydra.sweep.dir does nothing here"),
        (["experiment=null"], "a config is chosen by its name"),
        (["report.examples=é"], "\"report.examples='é'\""),
        (["method=[pgd"], "cannot read 'method=[pgd'"),
        (["name=null"], "name is null"),
        (["paths.results=''"], "paths.results is empty"),
        (["method._target_=no_such_module.X", "method=pgd"], "module no_such_module cannot be imported"),
        (["report"], "name a run"),
        (["report", "no-such-run"], "there is no run 'no-such-run'; there is no finished run in {results}/runs"),
        (["report", "x", "seed=1"], "paths.results=FOLDER, not 'seed=1'"),
        (["report", "x", "paths.results=elsewhere"], "elsewhere/runs"),
        (["list", "things"], "say what to list"),
        (["list", "--cfg=job"], "has no config to show"),
        (["perf", "people=x"], "people is x"),
        (["perf", "peple=5"], "did you mean 'people'?"),
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
    capfd: pytest.CaptureFixture[str], words: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLOAKBENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("CLOAKBENCH_WEIGHTS", str(tmp_path / "weights"))
    status = main(words)
    shown = capfd.readouterr()
    done = subprocess.CompletedProcess(words, status, shown.out, shown.err)
    assert expected.format(results=tmp_path / "results") in one_error(done)
    assert not list((tmp_path).rglob("runs")), "no work"


def test_the_level_of_the_log_is_checked_and_empty_variables_are_none(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOAKBENCH_LOG", "junk")
    assert main(["list"]) == 1
    assert "CLOAKBENCH_LOG=junk is no level" in capfd.readouterr().err
    monkeypatch.setenv("CLOAKBENCH_LOG", "")
    for name in ("CLOAKBENCH_RESULTS", "CLOAKBENCH_DATA", "CLOAKBENCH_WEIGHTS"):
        monkeypatch.setenv(name, " " if name.endswith("DATA") else "")
    words = ["experiment=smoke", "--resolve", "--cfg", "job", "dataset=lfw", "model@target=ir152"]
    assert main(words) == 0
    shown = capfd.readouterr().out
    assert "store: results/store" in shown
    assert "root: data/lfw" in shown
    assert "path: weights/ir152.pth" in shown
    monkeypatch.setenv("CLOAKBENCH_RESULTS", "~/r é,1")
    assert main(["experiment=smoke", "--resolve", "--cfg", "job"]) == 0
    assert f"store: {Path.home()}/r é,1/store" in capfd.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["experiment=smoke", "--cfg", "job", "seed=7"],
        ["--cfg=job", "experiment=smoke", "seed=7"],
        ["experiment=smoke", "seed=7", "-c", "job"],
        ["experiment=smoke", "seed=7", "--help"],
        ["-h", "experiment=smoke", "seed=7"],
    ],
)
def test_the_settings_of_a_run_can_be_shown_with_flags_anywhere(
    capfd: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main(words) == 0
    shown = capfd.readouterr().out
    assert "seed: 7" in shown
    assert "name: smoke" in shown


def test_where_a_config_comes_from_and_the_version_can_be_shown(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["experiment=smoke", "--info=searchpath"]) == 0
    assert "pkg://cloakbench.conf" in capfd.readouterr().out
    assert main(["--version"]) == 0
    assert re.fullmatch(r"cloakbench \d+\.\d+\S*\n", capfd.readouterr().out)
    assert main(["protect", "-c", "job", "input=été", "output=2025", "method=pgd"]) == 0
    shown = capfd.readouterr().out
    assert "input: été" in shown
    assert "output: '2025'" in shown


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cloakbench pro", "protect"),
        ("cloakbench experiment=sm", "experiment=smoke"),
        ("cloakbench protect metad", "metadata="),
    ],
)
def test_a_shell_completes_verbs_and_settings(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, line: str, expected: str
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    assert main(["-sc", "query=bash"]) == 0
    assert expected in capfd.readouterr().out.split()


@pytest.mark.parametrize(
    ("verb", "setting"),
    [
        ("report", "RUN"),
        ("list", "methods"),
        ("check", "conformance"),
        ("verify", "drawn_per_fold"),
        ("calibrate", "fars"),
        ("doctor", "time=false"),
        ("fetch", "dataset=NAME"),
        ("protect", "soften_surrogates"),
        ("zoo", "recipe@members"),
        ("perf", "repeats"),
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
    done = cloakbench("-m", *tiny_overrides, "method=raises,fgsm", timeout=600)
    assert done.returncode == 1
    assert "error: sweep job 0: " in done.stderr
    assert "this method always fails" in done.stderr
    [sweep] = (tmp_path / "results" / "sweeps").iterdir()
    assert (sweep / "report.md").exists()


@pytest.mark.parametrize("name", ["a[/b]", "2024"])
def test_a_run_keeps_its_name_on_a_terminal_of_few_signs(
    cloakbench: Cloakbench, tmp_path: Path, tiny_overrides: list[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Results in a folder with signs, a name with markup and a slash, and a terminal that takes ASCII only."""
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    results = tmp_path / "old [2]" / "[bold]r,1"
    words = [*tiny_overrides, f"paths.results={results}", "methods.pgd.steps=1", f"name={name}"]
    done = cloakbench(*words)
    assert done.returncode == 0, done.stderr
    assert f"{name} on " in done.stdout
    [run] = (results / "runs").iterdir()
    assert f"Report written: {run}/report.md" in done.stdout
    assert (run / "report.md").exists()
    done = cloakbench("report", name, f"paths.results={results}", plugins=False)
    assert done.returncode == 0, done.stderr
    assert run.name in done.stdout.splitlines()[0]


def finished(runs: Path, name: str, age: int) -> Path:
    """What is left of a run, as far as its name goes."""
    about = runs / name / "data" / "about.json"
    about.parent.mkdir(parents=True)
    about.write_text("{}")
    os.utime(about, (time.time() - age, time.time() - age))
    return runs / name


def test_report_says_which_of_several_runs_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cloakbench.bench.cli.report import _run_folder

    monkeypatch.chdir(tmp_path)
    runs = tmp_path / "runs"
    old, new = finished(runs, "bench-00000001", 99), finished(runs, "bench-00000002", 9)
    finished(runs, "bench2-00000003", 1)
    (runs / "bench-00000004").mkdir()
    (tmp_path / "bench").mkdir()  # a folder that is no run, as in a clone of this project
    screen = Screen(file=io.StringIO(), width=200)
    assert _run_folder("bench", runs, screen) == new
    said = screen.file.getvalue()  # type: ignore[attr-defined]
    assert new.name in said
    assert f"there are also {old.name}" in said
    assert "bench2" not in said
    assert _run_folder("bench2", runs, screen).name == "bench2-00000003"
    assert _run_folder(old.name, runs, screen) == old
    assert _run_folder(str(old), runs, screen) == old
    with pytest.raises(ConfigError, match=r"no run 'x'; finished runs in .*/runs: bench2-00000003, bench-00000002"):
        _run_folder("x", runs, screen)
    with pytest.raises(ConfigError, match="is not finished"):
        _run_folder("bench-00000004", runs, screen)


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
    command = [sys.executable, "-m", "cloakbench.bench.cli.main", *tiny_overrides[:-1], "runtime.workers=1"]
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
    "group", ["methods", "models", "attribute_models", "dataset", "experiments", "runtime", "loggers"]
)
def test_list_names_every_file_of_the_group(capsys: pytest.CaptureFixture[str], group: str) -> None:
    assert main(["list", group]) == 0
    shown = capsys.readouterr().out
    for path in (Path(__file__).parents[3] / "conf" / group.removesuffix("s")).glob("*.yaml"):
        assert path.stem in shown


def test_list_alone_names_every_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    for folder in (Path(__file__).parents[3] / "conf").iterdir():
        assert not folder.is_dir() or folder.name == "__pycache__" or folder.name in shown


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


def test_check_all_goes_on_after_a_failure_and_skips_what_lacks_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from cloakbench.bench.cli import check

    monkeypatch.setenv("CLOAKBENCH_WEIGHTS", str(tmp_path))
    names = {
        "method": ["identity", "lowkey_lpips", "precomputed", "raises", "random_sign"],
        "model": ["tiny1", "arcface_ir", "ir152"],
    }
    monkeypatch.setattr(check, "group_options", lambda group, _: names[group])
    assert main(["check", "all", "--config-dir", str(CONFIG_DIR)]) == 1
    lines = {line.split()[1]: line for line in capsys.readouterr().out.splitlines() if len(line.split()) > 2}
    for name, told in {
        "identity": "passed",
        "random_sign": "passed",
        "arcface_ir": "passed",
        "raises": "failed",
    }.items():
        assert told in lines[name]
    assert "skipped" in lines["lowkey_lpips"] and "alexnet-owt-7be5be79.pth" in lines["lowkey_lpips"]
    assert "skipped" in lines["precomputed"] and "method.folder=..." in lines["precomputed"]
    assert "ir152" not in lines
    names |= {"method": ["identity", "precomputed"], "model": []}
    assert main(["check", "all"]) == 0
