"""The store: atomic, shared, and suspicious of what it reads."""

from __future__ import annotations

import errno
import multiprocessing
import os
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from cloakbench.bench.core.files.seal import BLANK
from cloakbench.bench.core.hashing import canonical_json, content_key, tensor_digest
from cloakbench.bench.store.errors import StoreError
from cloakbench.bench.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def photos(count: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_tensors_come_back_with_their_note(store: Store) -> None:
    values = {"embeddings": torch.arange(6.0).view(2, 3)}
    store.write_tensors("embeddings", "ab12", values, {"model": "x"}, {"names": ["a", "ü"]})
    found = store.read_tensors("embeddings", "ab12")
    assert found is not None
    assert torch.equal(found[0]["embeddings"], values["embeddings"])
    assert found[1] == {"names": ["a", "ü"]}


def test_photos_survive_the_file_to_the_byte_and_keep_their_order(store: Store) -> None:
    images = photos(12)
    store.write_photos("protected", "cd34", images, [f"p/{9 - i % 10}" for i in range(12)], {"status": ["ok"] * 12})
    found = store.read_photos("protected", "cd34")
    assert found is not None
    assert torch.equal(found[0], images)
    assert found[1]["status"] == ["ok"] * 12
    assert store.read_about("protected", "cd34") == found[1]


def test_the_same_photos_give_the_same_file(store: Store) -> None:
    files = []
    for _ in range(2):
        store.write_photos("protected", "aa", photos(), ["a", "b", "c"], {"x": 1})
        files.append(store.path("protected", "aa", ".zip").read_bytes())
    assert files[0] == files[1]


@pytest.mark.parametrize("damage", ["truncate", "flip"])
def test_damage_is_noticed_and_the_entry_counts_as_absent(
    store: Store, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    store.write_tensors("embeddings", "ab", {"x": torch.ones(100)}, {})
    store.write_photos("protected", "cd", photos(), ["a", "b", "c"], {})
    store.write_frame("quality", "ef", pd.DataFrame({"x": range(1000)}))
    store.write_json("failures", "ab", {"reason": "x"})
    for path in (path for path in store.root.rglob("*") if path.is_file()):
        content = bytearray(path.read_bytes())
        if damage == "truncate":
            path.write_bytes(content[: len(content) // 2])
        else:
            content[len(content) // 2] ^= 0xFF
            path.write_bytes(content)
    assert store.read_tensors("embeddings", "ab") is None
    assert store.read_photos("protected", "cd") is None
    assert store.read_frame("quality", "ef") is None
    assert store.read_json("failures", "ab") is None
    assert caplog.text.count("is damaged") == 4
    assert not store.path("embeddings", "ab", ".safetensors").exists()


@pytest.mark.parametrize("text", [BLANK, BLANK[:30], f'"{BLANK}"\n{BLANK}'])
def test_text_that_looks_like_a_seal_is_text(store: Store, text: str) -> None:
    """A method's words of failure, a person's name."""
    store.write_json("failures", "ab", {"reason": text})
    assert store.read_json("failures", "ab") == {"reason": text}
    store.write_tensors("face_labels", "ab", {"x": torch.ones(2)}, {"names": text}, {"id": [text]})
    found = store.read_tensors("face_labels", "ab")
    assert found is not None
    assert found[1] == {"id": [text]}
    store.write_photos("protected", "ab", photos(), [text, "b", "c"], {"note": text})
    assert store.read_about("protected", "ab") == {"note": text}
    assert store.read_photos("protected", "ab") is not None
    store.write_frame("records", "ab", pd.DataFrame({"identity": [text], text: [1]}))
    table = store.read_frame("records", "ab")
    assert table is not None
    assert table.to_dict("list") == {"identity": [text], text: [1]}


def test_a_pipe_in_the_place_of_an_entry_is_never_waited_for(store: Store) -> None:
    store.write_json("failures", "ab", 1)
    path = store.path("failures", "ab", ".json")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(StoreError, match=r"it is a named pipe and not a plain file.*left as it is"):
        store.read_json("failures", "ab")
    assert path.is_fifo()


def test_absent_entries_are_none(store: Store) -> None:
    assert store.read_tensors("embeddings", "ab") is None
    assert store.read_photos("protected", "ab") is None
    assert store.read_about("protected", "ab") is None
    assert store.read_frame("quality", "ab") is None
    assert store.read_json("failures", "ab") is None


def test_a_full_disk_is_one_line_with_the_remedy_and_leaves_nothing_behind(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write_json("failures", "aa", 1)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"disk is full: free some space and run the same command again") as caught:
        store.write_json("failures", "ab", 2)
    assert "\n" not in str(caught.value)
    assert store.read_json("failures", "aa") == 1
    assert [path.name for path in (store.root / "failures").rglob("*") if path.is_file()] == ["aa.json"]


def test_leftovers_of_dead_writers_go_and_those_of_living_ones_stay(store: Store) -> None:
    store.write_json("failures", "aa", 1)
    folder = store.path("failures", "aa", ".json").parent
    host = os.uname().nodename
    dead = folder / f".writing-{host}-{_dead_pid()}-0000"
    alive = folder / f".writing-{host}-{os.getpid()}-0000"
    elsewhere = folder / ".writing-another-host-1-0000"
    for path in (dead, alive, elsewhere):
        path.write_bytes(b"half")
    assert store.remove_leftovers() == 1
    assert not dead.exists()
    assert alive.exists()
    assert elsewhere.exists()


def _dead_pid() -> int:
    process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(0,))
    process.start()
    process.join()
    assert process.pid is not None
    return process.pid


def test_keys_depend_on_content_alone() -> None:
    assert content_key("a", {"x": 1, "y": [2.0]}) == content_key("a", {"y": [2.0], "x": 1})
    assert content_key("a", {"x": 1}) != content_key("b", {"x": 1})
    assert content_key("a", {"x": 8}) != content_key("a", {"x": 4})
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json({"x": float("nan")})
    image = torch.arange(12, dtype=torch.uint8)
    assert tensor_digest(image) == tensor_digest(image.clone())
    assert tensor_digest(image) != tensor_digest(image.view(3, 4))
    assert tensor_digest(image) != tensor_digest(image.float())
