"""`cloakbench.evaluate`: the entries, keys and bytes of the command line, whatever way the parts are given."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from hydra import initialize_config_module
from hydra.core.global_hydra import GlobalHydra

import cloakbench
from cloakbench.bench.experiment import run as run_module

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"
TINY = {
    "dataset.identities": 6,
    "dataset.references_per_identity": 3,
    "dataset.probes_per_identity": 3,
    "dataset.distractors": 40,
    "dataset.auxiliary_identities": 4,
    "dataset.impostor_identities": 30,
    "plan.chunk_identities": 2,
    "statistics.resamples": 200,
    "report.examples": 2,
}
"""What the preset of the tiny experiment says, beside its parts."""


def stored(results: Path) -> set[str]:
    """Kind and key of every entry of a store."""
    store = results / "store"
    return {str(path.relative_to(store)) for path in store.rglob("*") if path.is_file() and path.name[0] != "."}


def tables(folder: Path) -> dict[str, bytes]:
    """Tables of a run, those with times left out."""
    return {path.name: path.read_bytes() for path in (folder / "tables").iterdir() if path.stem != "cost"}


def run_of(results: Path) -> Path:
    [report] = (results / "runs").glob("*/report.md")
    return report.parent


def spelled_out(results: Path, cache: Path, **more: Any) -> cloakbench.Results:
    """The tiny experiment without its preset."""
    parts: dict[str, Any] = {
        "methods": ["pgd", "opom_convex_hull"],
        "surrogates": "tiny1",
        "targets": ["tiny1", "tiny2"],
        "faces": "synthetic",
        "transforms": ["jpeg"],
        "budgets_255": [4, 8],
    }
    settings = {**TINY, "paths.cache": str(cache)}
    return cloakbench.evaluate(**parts | more, results=results, name="tiny", settings=settings, config_dir=CONFIG_DIR)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_preset_from_python_is_the_preset_of_the_command_line_in_one_process(
    workers: int, tiny_results: Path, tmp_path: Path, faces_cache: Path
) -> None:
    found = cloakbench.evaluate(
        experiment="tiny",
        results=tmp_path,
        workers=workers,
        settings={"paths.cache": str(faces_cache)},
        config_dir=[CONFIG_DIR],
    )
    expected = run_of(tiny_results)
    assert found.folder is not None and found.folder.name == expected.name
    assert stored(tmp_path) == stored(tiny_results)
    assert tables(found.folder) == tables(expected)
    assert (found.folder / "tables/measurements.csv").read_bytes() == (
        expected / "tables/measurements.csv"
    ).read_bytes()
    assert not found.problems


@pytest.mark.slow
def test_loaded_parts_share_the_keys_of_their_names(
    tiny_results: Path, tmp_path: Path, faces_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = Path(shutil.copytree(tiny_results, tmp_path / "results"))
    before = stored(results)
    monkeypatch.setattr(run_module, "due_jobs", lambda status: _no(run_module_due(status)))
    one, two = (cloakbench.load_recogniser(name, config_dir=CONFIG_DIR) for name in ("tiny1", "tiny2"))
    found = spelled_out(
        results,
        faces_cache,
        methods=[cloakbench.load_method("pgd"), "opom_convex_hull"],
        surrogates=one,
        targets=[one, two],
        workers=0,
    )
    assert found.folder == run_of(results)
    assert stored(results) == before


run_module_due = run_module.due_jobs


def _no(jobs: list[Any]) -> list[Any]:
    assert jobs == []
    return jobs


@pytest.mark.slow
def test_parts_named_one_by_one_in_a_call_that_was_interrupted_end_in_the_same_bytes(
    tiny_results: Path, tmp_path: Path, faces_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []

    def interrupt(*_: Any) -> None:
        told.append(1)
        if len(told) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "_log_unit", interrupt)
        with pytest.raises(KeyboardInterrupt):
            spelled_out(tmp_path, faces_cache, workers=1)
    done = stored(tmp_path)
    assert len([name for name in done if name.startswith("protected")]) >= 3
    found = spelled_out(tmp_path, faces_cache, workers=0)
    assert done < stored(tmp_path) == stored(tiny_results)
    assert found.folder is not None and found.folder.name == run_of(tiny_results).name
    assert tables(found.folder) == tables(run_of(tiny_results))


def test_results_show_themselves_in_a_few_lines_and_write_their_report(tiny_results: Path, tmp_path: Path) -> None:
    from cloakbench.bench.report.archive import load_results

    results = load_results(run_of(tiny_results))
    lines = repr(results).splitlines()
    assert len(lines) <= 5 and max(map(len, lines)) < 120
    assert lines[0].startswith("Results of tiny on synthetic")
    assert "pgd" in repr(results) and "tiny2" in repr(results) and "identification" in repr(results)
    report = results.report(tmp_path / "mine")
    assert report == tmp_path / "mine" / "report.md" and report.is_file()
    assert tables(tmp_path / "mine") == tables(run_of(tiny_results))
    assert list((tmp_path / "mine" / "figures").glob("*.png"))
    assert isinstance(results.measurements, pd.DataFrame)


@pytest.mark.slow
def test_a_script_without_a_guard_is_not_run_again_by_its_workers(tmp_path: Path, faces_cache: Path) -> None:
    few = {"dataset.identities": 3, "dataset.distractors": 10, "dataset.impostor_identities": 10}
    settings = {**few, "statistics.resamples": 50, "report.examples": 0, "report.figures": False}
    settings["paths.cache"] = str(faces_cache)
    script = tmp_path / "script.py"
    script.write_text(
        "print('once', flush=True)\n"
        "import cloakbench\n"
        f"found = cloakbench.evaluate('random_sign', targets='tiny2', settings={settings!r}, workers=1,\n"
        f"    results={str(tmp_path / 'results')!r}, config_dir={str(CONFIG_DIR)!r})\n"
        "assert not found.problems\n"
    )
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "once\n"), done.stderr
    assert done.stderr == ""


class Listener(logging.Handler):
    """Keeps the level of everything that reaches a program's own log."""

    def __init__(self) -> None:
        super().__init__()
        self.levels: list[int] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.levels.append(record.levelno)


def test_the_program_around_finds_everything_as_it_was(evaluate: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Its number of threads, its own Hydra, and no details of ours in its log."""
    caplog.set_level(logging.WARNING)  # of the root; the command line sets another one
    listener = Listener()
    logging.getLogger().addHandler(listener)
    torch.set_num_threads(2)
    try:
        with initialize_config_module("cloakbench.conf", version_base="1.3"):
            own = GlobalHydra.instance().hydra
            found = evaluate({"failing": "every_third_fails"}, targets="tiny2")
            assert GlobalHydra.instance().hydra is own
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
        logging.getLogger().removeHandler(listener)
    assert found.problems and set(listener.levels) == {logging.WARNING}
    assert logging.getLogger("cloakbench").propagate
