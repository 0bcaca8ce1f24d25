"""The command line as a user meets it: each mistake is one line that names the remedy, and the exit status says so."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from one_error import one_error

from cloakbench.bench.cli.main import main

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"
Cloakbench = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["method=pgdd"], "there is no method called 'pgdd'; did you mean 'pgd'?"),
        (["experiment=smoke", "method=pgd", "method.epsilon_25=4"], "did you mean 'method.epsilon_255'?"),
        (
            ["experiment=smoke", "model@surrogate=facepp"],
            "'model@surrogate=facepp': facepp is a service, which is never a surrogate",
        ),
        (["experiment=smoke", "model@surrogate=facep"], "there is no model called 'facep'"),
        (["sed=3"], "there is no setting 'sed'; did you mean 'seed'?"),
        (["experimnt=bench"], "there is no setting 'experimnt'; did you mean 'experiment'?"),
        (["experiment=benhc"], "there is no experiment called 'benhc'; did you mean 'bench'?"),
        (["experiment=smoke", "dataset=folder"], "dataset.root"),
        (["experiment=smoke", "dataset=folder", "dataset.root=nowhere"], "nowhere"),
        (["-m", "experiment=smoke", "method=pgd,fgsmm"], "there is no method called 'fgsmm'; did you mean 'fgsm_m'?"),
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
        (["check", "method=identity", "hydra.verbose=true"], "CLOAKBENCH_LOG=DEBUG"),
        (["perf", "hydra.run.dir=x"], "hydra.run.dir does nothing here"),
        (["experiment=null"], "a config is chosen by its name"),
        (["experiment=smoke", "dataset=null"], "'dataset=null': a config is chosen by its name, dataset=NAME"),
        (["method=[pgd,fgsm]"], "'method=[pgd,fgsm]': a config is chosen by its name"),
        (["experiment=smoke", "~methods.nope"], "~methods.nope takes out what is not there"),
        (["experiment=smoke", "~method@methods.nope"], "~method@methods.nope takes out what is not there"),
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
    for name in ("CLOAKBENCH_RESULTS", "CLOAKBENCH_DATA", "CLOAKBENCH_WEIGHTS", "CLOAKBENCH_CACHE"):
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
    assert main(["export", "experiment=smoke", "output=o", "--help"]) == 0
    assert "output: o" in capfd.readouterr().out
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
        ("cloakbench export experiment=smoke ou", "output="),
        ("cloakbench --config-dir {configs} method=rais", "method=raises"),
        ("cloakbench protect -cd={configs} method=rais", "method=raises"),
        ("cloakbench --config-dir no-such-folder exper", "experiment="),
    ],
)
def test_a_shell_completes_verbs_and_settings(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, line: str, expected: str
) -> None:
    line = line.format(configs=CONFIG_DIR)
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
        ("export", "overwrite"),
        ("survey", "answers"),
        ("zoo", "recipe@members"),
        ("generator", "identity"),
        ("views", "embed_batch"),
        ("perf", "repeats"),
    ],
)
def test_each_command_explains_itself(capsys: pytest.CaptureFixture[str], verb: str, setting: str) -> None:
    assert main([verb, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"cloakbench {verb} ") and setting in shown
