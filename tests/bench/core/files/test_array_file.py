"""Atomic, verified arrays on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cloakbench.bench.core.files.array_file import read_array, write_array


def test_round_trip_of_chunks(tmp_path: Path) -> None:
    array = np.arange(60, dtype=np.float32).reshape(10, 3, 2)
    write_array(tmp_path / "new" / "a.npy", "a", array.shape, array.dtype, [array[:4], array[4:]])
    found = read_array(tmp_path / "new" / "a.npy", "a")
    assert isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, array)


def test_writing_to_a_mapped_array_leaves_the_file_alone(tmp_path: Path) -> None:
    write_array(tmp_path / "a.npy", "a", (4,), np.dtype(np.uint8), [np.zeros(4, np.uint8)])
    found = read_array(tmp_path / "a.npy", "a")
    assert found is not None
    found[:] = 1
    again = read_array(tmp_path / "a.npy", "a")
    assert again is not None and not again.any()


def test_an_array_is_read_under_its_own_name_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_array(tmp_path / "a.npy", "album a/images", (4,), np.dtype(np.uint8), [np.zeros(4, np.uint8)])
    assert read_array(tmp_path / "a.npy", "album b/images") is None
    assert "damaged" in caplog.text
    assert not (tmp_path / "a.npy").exists()


def test_what_cannot_be_read_is_no_damage(tmp_path: Path) -> None:
    (tmp_path / "a.npy").mkdir()
    with pytest.raises(OSError, match=r"cannot read .*a\.npy \(Is a directory\)") as caught:
        read_array(tmp_path / "a.npy", "a")
    assert "\n" not in str(caught.value)


def test_missing_files_are_none_without_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_array(tmp_path / "none.npy", "a") is None
    assert not caplog.text


@pytest.mark.parametrize("chunks", [[np.zeros(3, np.uint8)], [np.zeros(4, np.int8)], [np.zeros((4, 1), np.uint8)]])
def test_chunks_that_do_not_fit_leave_nothing(tmp_path: Path, chunks: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match=r"a\.npy"):
        write_array(tmp_path / "a.npy", "a", (4,), np.dtype(np.uint8), chunks)
    assert not list(tmp_path.iterdir())


def test_a_failing_source_leaves_the_old_file(tmp_path: Path) -> None:
    write_array(tmp_path / "a.npy", "a", (1,), np.dtype(np.uint8), [np.ones(1, np.uint8)])

    def broken():
        yield np.zeros(1, np.uint8)
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        write_array(tmp_path / "a.npy", "a", (2,), np.dtype(np.uint8), broken())
    old = read_array(tmp_path / "a.npy", "a")
    assert old is not None and old.tolist() == [1]
    assert len(list(tmp_path.iterdir())) == 1
