"""Multiruns from the command line: every job is looked at before the first, every launcher works, nothing is lost."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from cloakbench.bench.cli.main import main
from cloakbench.bench.cli.running import sweep
from cloakbench.bench.cli.running import sweep_jobs as listing
from cloakbench.bench.cli.running.sweep import Note, combine_sweep, new_folder, read_notes, settings_of, write_note
from cloakbench.bench.cli.running.sweep_jobs import check_sweep, sweep_jobs
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.store.errors import StoreError

pytestmark = pytest.mark.usefixtures("pdf_left_out")

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"
ONLY_SSIM = [
    f"~protocols.quality.image_metrics.{name}" for name in ("ms_ssim_w7", "psnr", "lpips", "l2_255", "linf_255")
]
SMALL = [
    "dataset.identities=2",
    "dataset.distractors=4",
    "dataset.impostor_identities=0",
    "~transforms.jpeg",
    *ONLY_SSIM,
]
Cloakbench = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["method=pgd,pgdd"], "there is no method called 'pgdd'"),
        (["method=pgd", "method.steps=2,-1"], "steps"),
        (["method=pgd,fgsm", "method.steps=2,3"], "steps"),
        (["method=fgsm", "method.epsilon_255=4,-1"], "method.epsilon_255 is -1: it must be a number from 0 to 255"),
        (["seed=0,-1"], "seed is -1: it must be a whole number of at least 0"),
        (["statistics.resamples=100,abc"], "statistics.resamples is abc"),
        (["dataset=folder,synthetic_small"], "dataset.root"),
        (["method=pgd", "method.steps=interval(1,3)"], "cannot sweep over 'method.steps=interval(1,3)'"),
    ],
)
def test_what_does_not_fit_is_said_before_any_work(words: list[str], told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)) as error:
        check_sweep(["experiment=smoke", f"paths.results={tmp_path}/results", *words])
    assert "\n" not in str(error.value)
    assert not (tmp_path / "results").exists()


def test_the_last_of_all_combinations_is_looked_at_too() -> None:
    words = ["experiment=smoke", "method=fgsm,pgd", "method.epsilon_255=4,8", "seed=0,x"]
    with pytest.raises(
        ConfigError, match=r"seed is x.*\(job 1 of the sweep: method=fgsm method.epsilon_255=4 seed=x\)"
    ):
        check_sweep(words)


def test_jobs_are_the_product_of_all_values() -> None:
    assert sweep_jobs(["a=1,2", "b=x", "c=range(0,2)"]) == [
        ("a=1", "b=x", "c=0"),
        ("a=1", "b=x", "c=1"),
        ("a=2", "b=x", "c=0"),
        ("a=2", "b=x", "c=1"),
    ]
    assert ("method=fgsm",) in sweep_jobs(["method=glob(f*)"])


def test_a_launcher_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "find_spec", lambda _: None)
    monkeypatch.setattr(listing, "compose_config", lambda *_, **__: (_ for _ in ()).throw(ConfigError("none such")))
    with pytest.raises(ConfigError, match=r"pip install 'cloakbench\[sweep\]'"):
        check_sweep(["hydra/launcher=joblib", "seed=0,1"])


def test_two_sweeps_never_share_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep.time, "strftime", lambda _: "now")
    assert [new_folder(tmp_path / "sweeps").name for _ in range(3)] == ["now", "now_2", "now_3"]


def test_overrides_as_settings() -> None:
    assert settings_of(["+logger.api_key=(left out)", "a=2"]) == {"logger.api_key": "(left out)", "a": 2}
    given = ["+a=1", "method.b=0.5", "c='x,y'", "model@target=t", "d=[1,2]", "e=null", "f=true"]
    assert settings_of(given) == {
        "a": 1,
        "method.b": 0.5,
        "c": "x,y",
        "model@target": "t",
        "d": [1, 2],
        "e": None,
        "f": True,
    }


def test_a_job_that_left_no_note_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    note = Note(("seed=0",), "pgd", None, ("the disk is full",))
    write_note(tmp_path / "0", note)
    assert dict(read_notes(tmp_path, 2))[0] == note
    assert combine_sweep(tmp_path, 2) == 1
    errors = capsys.readouterr().err.splitlines()
    assert errors == [
        "error: sweep job 0: the disk is full",
        "error: sweep job 1: did not come to its end; what its process printed says why",
    ]


def test_what_ends_a_job_is_said_as_it_is_of_a_single_run(
    tiny_overrides: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    problems: list[Exception] = [StoreError(errno.ENOSPC, "cannot write to R: the disk is full"), MemoryError()]

    def fail(_: object) -> None:
        raise problems.pop(0)

    monkeypatch.setattr(sys, "argv", ["cloakbench"])
    monkeypatch.setattr("cloakbench.bench.experiment.run.run", fail)
    assert main(["-m", *tiny_overrides, "seed=0,1", "--config-dir", str(CONFIG_DIR)]) == 1
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: sweep job")]
    assert told[0] == "error: sweep job 0: cannot write to R: the disk is full"
    assert told[1].startswith("error: sweep job 1: out of memory: take fewer workers")


def run_tiny(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """A multirun in this process; what it printed."""
    assert main(["-m", *words, "--config-dir", str(CONFIG_DIR)]) == 0
    return capsys.readouterr().out


@pytest.mark.slow
def test_steps_are_one_table_and_one_curve(
    tmp_path: Path, tiny_overrides: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["cloakbench"])
    shown = run_tiny([*tiny_overrides, "method=pgd", "method.steps=1,2", *SMALL], capsys)
    [folder] = (tmp_path / "results" / "sweeps").iterdir()
    assert (folder / "figures" / "variants_steps.pdf").exists()
    measured = pd.read_csv(folder / "tables" / "measurements.csv")
    assert set(measured.loc[measured["method"] == "pgd", "variant"]) == {"steps=1", "steps=2"}
    assert measured.loc[measured["method"] == "random_sign", "variant"].isna().all()
    assert "PGD (steps=2)" in shown
    reports = [line for line in shown.splitlines() if line.startswith("Job ")]
    assert len(reports) == 2
    assert all(Path(line.rpartition(": ")[2]).exists() for line in reports)
    assert "Job 1 (method.steps=2): " in reports[1]
    runs = [Path(line.rpartition(": ")[2]).parent for line in reports]
    assert main(["report", *map(str, runs)]) == 0
    assert "PGD (steps=2)" in capsys.readouterr().out, "runs are joined as a sweep is"
    [joined] = runs[0].parent.glob("*+*/tables/measurements.csv")
    assert set(pd.read_csv(joined)["variant"].dropna()) == {"steps=1", "steps=2"}
    for run in runs:
        (run / "config.yaml").unlink()
    assert main(["report", *map(str, runs)]) == 1
    assert "has two values of" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("figures_left_out")
def test_seeds_are_rows_with_mean_and_spread(
    tmp_path: Path, tiny_overrides: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["cloakbench"])
    shown = run_tiny([*tiny_overrides, "method=fgsm", "seed=0,1", *SMALL], capsys)
    [folder] = (tmp_path / "results" / "sweeps").iterdir()
    spread = pd.read_csv(folder / "tables" / "variants_seeds.csv")
    assert set(spread["seeds"]) == {2}
    rows = pd.read_csv(folder / "tables" / "variants.csv")
    fgsm = rows[rows["method"] == "FGSM"]
    assert sorted(fgsm["seed"]) == [0, 1]
    mean = spread.loc[spread["method"] == "FGSM", "black_box_top1_percent_mean"].iloc[0]
    assert mean == pytest.approx(fgsm["black_box_top1_percent"].mean(), abs=0.01)
    assert "Mean and spread over seeds" in shown
    assert sum(line.startswith("Job ") for line in shown.splitlines()) == 2


def launched(launcher: str, tmp_path: Path, tiny_overrides: list[str], *more: str) -> dict[str, bytes]:
    """The tables, costs apart, of a multirun on a launcher, in a folder of its own, into a relative results folder and
    an empty store."""
    tmp_path.mkdir(exist_ok=True)
    words = [word for word in tiny_overrides if not word.startswith(("paths.results", "runtime.workers"))]
    words += [*SMALL, "~model@targets.tiny2"]
    words += ["method=fgsm", "method.epsilon_255=4,8", f"hydra/launcher={launcher}", "paths.results=relative", *more]
    command = [sys.executable, "-m", "cloakbench.bench.cli.main", "-m", *words, "--config-dir", str(CONFIG_DIR)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    [folder] = (tmp_path / "relative" / "sweeps").iterdir()
    assert (folder / "figures" / "transfer.pdf").exists()
    assert len(list((tmp_path / "relative" / "runs").iterdir())) == 2
    assert {path.name for path in tmp_path.iterdir()} <= {"relative", ".submitit"}
    tables = [path for path in (tmp_path / "relative" / "runs").glob("*/tables/*") if path.stem != "cost"]
    return {str(path.relative_to(tmp_path)): path.read_bytes() for path in tables}


@pytest.mark.slow
def test_joblib_works_on_an_empty_store_with_workers(tmp_path: Path, tiny_overrides: list[str]) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    launched("joblib", tmp_path, tiny_overrides, "hydra.launcher.n_jobs=2", "runtime.workers=1")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "more"),
    [
        ("joblib", ["hydra.launcher.n_jobs=1", "runtime.workers=auto"]),
        ("joblib", ["runtime.workers=0"]),
        ("submitit_local", ["runtime.workers=1"]),
    ],
)
def test_launchers_work_with_any_number_of_workers(
    launcher: str, more: list[str], tmp_path: Path, tiny_overrides: list[str]
) -> None:
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.partition('_')[0]}_launcher")
    launched(launcher, tmp_path, tiny_overrides, *more)


@pytest.mark.slow
def test_launchers_give_equal_bytes(tmp_path: Path, tiny_overrides: list[str]) -> None:
    found = []
    for launcher, more in (("basic", "workers=0"), ("joblib", "workers=1"), ("submitit_local", "workers=2")):
        if launcher != "basic":
            pytest.importorskip(f"hydra_plugins.hydra_{launcher.partition('_')[0]}_launcher")
        found.append(launched(launcher, tmp_path / launcher, tiny_overrides, f"runtime.{more}"))
    assert found[0] and found[0] == found[1] == found[2]
