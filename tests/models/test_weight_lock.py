"""The first digest of a weight file is kept to, by several processes, until a person says otherwise."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from cloakbench.models import weight_lock
from cloakbench.models.weight_lock import LOCK_NAME, WeightChangedError, keep_first

A, B = "a" * 64, "b" * 64


def test_the_first_digest_stays(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    keep_first(path, A)
    keep_first(path, A)
    with pytest.raises(WeightChangedError, match=r'delete the line "net\.pth" from') as error:
        keep_first(path, B)
    assert str(tmp_path / LOCK_NAME) in str(error.value)
    assert "\n" not in str(error.value)
    assert json.loads((tmp_path / LOCK_NAME).read_text())["net.pth"] == A


@pytest.mark.parametrize("name", ["a.pth", "m.pth", "z.pth"])
def test_deleting_a_line_accepts_another_file_and_keeps_the_rest(tmp_path: Path, name: str) -> None:
    for other in ("a.pth", "m.pth", "z.pth"):
        keep_first(tmp_path / other, A)
    lock = tmp_path / LOCK_NAME
    lock.write_text("".join(line for line in lock.read_text().splitlines(True) if f'"{name}"' not in line))
    keep_first(tmp_path / name, B)
    assert sorted(json.loads(lock.read_text()).values())[:3] == [A, A, B]


def test_a_damaged_record_is_said_and_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).write_text("{")
    with pytest.raises(WeightChangedError, match="mend it, or delete it"):
        keep_first(tmp_path / "net.pth", A)
    assert (tmp_path / LOCK_NAME).read_text() == "{"


def test_a_folder_that_cannot_be_written_to_is_recorded_in_the_hub_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(weight_lock.os, "access", lambda *_: False)
    path = tmp_path / "net.pth"
    keep_first(path, A)
    with pytest.raises(WeightChangedError, match=str(path)):
        keep_first(path, B)
    assert not (tmp_path / LOCK_NAME).exists()
    assert json.loads((weight_lock.hub_folder() / LOCK_NAME).read_text())[str(path)] == A


def test_a_record_copied_with_the_weights_counts_where_it_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_first(tmp_path / "net.pth", A)
    monkeypatch.setattr(weight_lock.os, "access", lambda *_: False)
    keep_first(tmp_path / "net.pth", A)
    with pytest.raises(WeightChangedError):
        keep_first(tmp_path / "net.pth", B)


def _keep(folder: Path, names: list[str]) -> None:
    for name in names:
        keep_first(folder / name, A)


def test_several_processes_lose_no_entry(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    names = [[f"{worker}-{number}.pth" for number in range(10)] for worker in range(4)]
    workers = [context.Process(target=_keep, args=(tmp_path, some)) for some in names]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
        assert worker.exitcode == 0
    assert set(json.loads((tmp_path / LOCK_NAME).read_text())) >= {name for some in names for name in some}
    assert [path.name for path in tmp_path.iterdir()] == [LOCK_NAME]
