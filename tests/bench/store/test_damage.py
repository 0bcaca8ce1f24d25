"""Whatever is damaged in a finished store, the next run gives the tables it gave before, without gaps or blame."""

from __future__ import annotations

import errno
import logging
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from damage import damage_some, entries
from omegaconf import DictConfig

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.experiment.prepare import prepare
from cloakbench.bench.experiment.run import Outcome, run
from cloakbench.bench.store import store as store_module
from cloakbench.bench.store.errors import StoreError

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"
FAST, SLOW = 1, 100
"""Random trials per experiment."""


class Finished:
    """A finished run, its config, and the report that every later run must give again."""

    def __init__(self, experiment: str, folder: Path, cache: Path) -> None:
        self.overrides = [f"experiment={experiment}", f"paths.results={folder}", f"paths.cache={cache}"]
        self.overrides += ["runtime.workers=0"]
        outcome = self.run()
        assert not outcome.problems
        self.folder = outcome.folder
        self.store = folder / "store"
        self.tables = self.report()
        self.entries = entries(self.store)

    def config(self, *more: str) -> DictConfig:
        return compose_config([*self.overrides, *more], config_dirs=[str(CONFIG_DIR)])

    def run(self, *more: str) -> Outcome:
        return run(self.config(*more))

    def report(self) -> dict[str, bytes]:
        paths = sorted((self.folder / "tables").iterdir())
        return {path.name: path.read_bytes() for path in paths if path.stem != "cost"}

    def first(self, kind: str) -> Path:
        """The first entry of a kind that this run made."""
        return next(path for path in self.entries if path.relative_to(self.store).parts[0] == kind)

    def assert_as_before(self, *more: str) -> Outcome:
        outcome = self.run(*more)
        assert outcome.problems == []
        found = self.report()
        assert {name: found.get(name) == content for name, content in self.tables.items()} == dict.fromkeys(
            self.tables, True
        )
        return outcome


def finished(experiment: str) -> Callable[..., Finished]:
    @pytest.fixture(scope="module", name=experiment)
    def fixture(
        request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, faces_cache: Path
    ) -> Finished:
        folder = tmp_path_factory.mktemp(experiment)
        shutil.copytree(request.getfixturevalue(f"{experiment}_results"), folder, dirs_exist_ok=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(str(CONFIG_DIR.parent))
            return Finished(experiment, folder, faces_cache)

    return fixture


tiny, tiny_poisoning = finished("tiny"), finished("tiny_poisoning")


@pytest.fixture
def either(request: pytest.FixtureRequest) -> Finished:
    return request.getfixturevalue(request.param)


EITHER = pytest.mark.parametrize("either", ["tiny", "tiny_poisoning"], indirect=True)


def trials(finished: Finished, seeds: range) -> None:
    for seed in seeds:
        draw = random.Random(seed)
        done = damage_some(finished.store, draw)
        if draw.random() < 0.5:  # then the whole way from the photos to the tables is gone over
            for kind in draw.sample(["measurements", "quality", "attacks"], 2):
                shutil.rmtree(finished.store / kind, ignore_errors=True)
        if draw.random() < 0.3:
            done += damage_some(finished.folder, draw)
        print(seed, done)  # noqa: T201  (shown when the trial fails)
        finished.assert_as_before()


@EITHER
def test_random_damage_leaves_the_tables_as_they_were(either: Finished) -> None:
    trials(either, range(FAST))


@pytest.mark.slow
@EITHER
def test_two_hundred_times_random_damage_leaves_the_tables_as_they_were(either: Finished) -> None:
    trials(either, range(1000, 1000 + SLOW))


@pytest.mark.slow
def test_every_entry_damaged_at_once_is_made_again_in_one_run(
    tiny_poisoning: Finished, caplog: pytest.LogCaptureFixture
) -> None:
    damaged = entries(tiny_poisoning.store)
    for path in damaged:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 4
        path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        tiny_poisoning.assert_as_before()
    told = [record.getMessage() for record in caplog.records if "is damaged" in record.getMessage()]
    assert len(told) == len(set(told))
    assert {line.split(" is damaged")[0] for line in told} <= {str(path) for path in damaged}


@pytest.mark.parametrize("kind", ["measurements", "thresholds", "records"])
def test_a_job_is_done_again_when_one_of_its_tables_is_not_whole(
    tiny: Finished, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One table has a wrong bit, that of another job is gone."""
    wrong, gone = [path for path in tiny.entries if path.relative_to(tiny.store).parts[0] == kind][:2]
    right = {path: path.read_bytes() for path in (wrong, gone)}
    wrong.write_bytes(right[wrong][:200] + bytes([right[wrong][200] ^ 1]) + right[wrong][201:])
    gone.unlink()
    if kind == "records":  # which a report that is current does not read
        (tiny.folder / "data" / "digest.txt").unlink()
    tiny.assert_as_before()
    assert {path: path.read_bytes() for path in right} == right
    assert caplog.text.count(f"{wrong} is damaged") == 1


@pytest.mark.slow
def test_damaged_embeddings_are_made_again_before_anything_is_computed_from_them(tiny: Finished) -> None:
    """All of them, under both targets; the tables that are made from them are gone."""
    shutil.rmtree(tiny.store / "measurements")
    for path in entries(tiny.store / "embeddings"):
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    rates = tiny.assert_as_before().results.measurements
    assert "identification" in set(rates["protocol"])
    assert (rates.loc[rates["protocol"] == "identification", "n_failed"] == 0).all()


@pytest.mark.slow
def test_what_tables_are_made_from_is_made_again_in_the_same_run(tiny: Finished) -> None:
    shutil.rmtree(tiny.store / "embeddings")
    shutil.rmtree(tiny.store / "records")
    for kind in ("protected", "quality", "faces", "face_labels"):
        path = tiny.first(kind)
        path.write_bytes(path.read_bytes()[:-40])
    tiny.assert_as_before()


def test_stages_of_a_poisoning_are_made_again_in_the_same_run(tiny_poisoning: Finished) -> None:
    for gone in ("attacks", "quality"):
        entries(tiny_poisoning.store / gone)[-1].unlink()
    for kind in ("attacks", "quality", "protected"):
        tiny_poisoning.first(kind).write_bytes(bytes(100))
    tiny_poisoning.assert_as_before()


@pytest.mark.slow
def test_what_a_method_trained_is_trained_again_when_it_is_damaged(tiny: Finished) -> None:
    more = ("method=trained", "method.epsilon_255=4")
    first = tiny.run(*more)
    rates = first.results.measurements
    for path in entries(tiny.store / "trained"):
        path.write_bytes(path.read_bytes().replace(b"seal", b"deal"))
    for kind in ("protected", "measurements"):
        for path in set(entries(tiny.store / kind)) - set(tiny.entries):
            path.unlink()
    again = tiny.run(*more)
    assert again.problems == []
    assert again.results.measurements.equals(rates)


@pytest.mark.slow
def test_a_damaged_failure_is_found_out_again(tiny: Finished) -> None:
    more = ("+method@methods.broken=raises",)
    first = tiny.run(*more)
    assert any("this method always fails" in problem for problem in first.problems)
    for path in entries(tiny.store / "failures"):
        path.write_text('{"status": "method_failed", "reason": "somebody else\'s fault"}')
    assert tiny.run(*more).problems == first.problems


def test_an_entry_of_another_name_or_kind_is_never_read(tiny: Finished) -> None:
    store = prepare(tiny.config()).store
    one, other = [path for path in tiny.entries if path.parts[-3] == "records"][:2]
    shutil.copyfile(other, one)
    assert store.read_frame("records", one.stem) is None
    target = store.path("records", "ab" * 16, ".parquet")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(tiny.first("measurements"), target)
    assert store.read_frame("records", "ab" * 16) is None
    tiny.assert_as_before()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.EIO, errno.ESTALE])
def test_what_cannot_be_read_is_left_alone(tiny: Finished, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.read_bytes() for path in entries(tiny.store)}
    closed = tiny.first("protected") if number == errno.EACCES else tiny.first("measurements")
    real = store_module._open

    def refuse(path: Path) -> object:
        if path == closed:
            raise OSError(number, os.strerror(number), str(path))
        return real(path)

    monkeypatch.setattr(store_module, "_open", refuse)
    with pytest.raises(StoreError, match=os.strerror(number)) as caught:
        tiny.run()
    assert str(closed) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in entries(tiny.store)} == before


def powerless(*command: str) -> list[str]:
    """A command without the right to read what others forbid, which root has."""
    if os.geteuid():
        return list(command)
    if shutil.which("setpriv") is None:
        pytest.skip("root reads everything, and setpriv is missing")
    rights = "-dac_override,-dac_read_search,-fowner"
    return ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}", *command]


@pytest.mark.slow
def test_another_users_entries_stay(tiny: Finished, tmp_path: Path) -> None:
    results = tmp_path / "results"
    shutil.copytree(tiny.store, results / "store")
    for kind in ("protected", "measurements"):
        path = results / "store" / tiny.first(kind).relative_to(tiny.store)
        path.chmod(0)
        if not os.geteuid():
            os.chown(path, 4321, 4321)
    command = [sys.executable, "-m", "cloakbench.bench.cli.main", *tiny.overrides, f"paths.results={results}"]
    command += ["--config-dir", str(CONFIG_DIR)]
    done = subprocess.run(powerless(*command), capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 1
    told = [line for line in done.stderr.splitlines() if "Permission denied" in line]
    assert len(told) == 1 and told[0].startswith(f"error: cannot read {results}/store/protected")
    assert "Traceback" not in done.stderr
    assert [p.name for p in entries(results / "store")] == [p.name for p in entries(tiny.store)]


@pytest.mark.slow
def test_a_finished_run_that_nobody_may_write_to_is_shown_again(tiny: Finished, tmp_path: Path) -> None:
    tiny.assert_as_before()
    results = tmp_path / "results"
    shutil.copytree(tiny.store, results / "store")
    shutil.copytree(tiny.folder, results / "runs" / tiny.folder.name)
    places = [results, *results.rglob("*")]
    before = {path: path.read_bytes() for path in places if path.is_file()}
    for path in places:
        path.chmod(0o555 if path.is_dir() else 0o444)
    command = [sys.executable, "-m", "cloakbench.bench.cli.main", *tiny.overrides, f"paths.results={results}"]
    command += ["--config-dir", str(CONFIG_DIR)]
    done = subprocess.run(powerless(*command), capture_output=True, text=True, check=False, timeout=300)
    for path in places:
        path.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert f"Report unchanged: {results}/runs/{tiny.folder.name}/report.md" in done.stdout
    assert {path: path.read_bytes() for path in results.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_a_store_that_forgets_what_is_written_is_one_line_and_no_hang(
    tiny: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = type(prepare(tiny.config()).store)
    monkeypatch.setattr(store, "read_frame", lambda *_: None)
    with pytest.raises(StoreError, match="keep vanishing or reading back wrong") as caught:
        tiny.run()
    assert "\n" not in str(caught.value)
