"""Faces in the store: complete, mapped, and written without holding them in memory."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cloakbench.bench.core.hashing import tensor_digest
from cloakbench.bench.store.errors import StoreError
from cloakbench.bench.store.faces import read_faces, write_faces
from cloakbench.bench.store.store import Store
from cloakbench.datasets.base import FaceSet


def faces() -> FaceSet:
    images = torch.arange(3 * 3 * 4 * 4, dtype=torch.uint8).view(3, 3, 4, 4)
    attributes = {"age": torch.tensor([3, -1, 2]), "smile": torch.tensor([0, 1, 0])}
    return FaceSet(images, ("a", "b", "c"), ("x", "y", "x"), torch.arange(30.0).view(3, 5, 2), attributes)


def test_every_column_comes_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    key = write_faces(store, "digest", "probe", faces())
    found = read_faces(store, key)
    assert torch.equal(found.images, faces().images)
    assert (found.image_id, found.identity) == (faces().image_id, faces().identity)
    assert found.landmarks is not None
    assert {name: values.tolist() for name, values in found.attributes.items()} == {
        "age": [3, -1, 2],
        "smile": [0, 1, 0],
    }
    found.images[0] = 7
    assert torch.equal(read_faces(store, key).images, faces().images)  # what is mapped is not written to


def test_stored_once_and_made_again_when_damaged(tmp_path: Path) -> None:
    store = Store(tmp_path)
    key = write_faces(store, "digest", "probe", faces())
    changed = replace(faces(), images=torch.zeros_like(faces().images))
    assert write_faces(store, "digest", "probe", changed) == key
    assert torch.equal(read_faces(store, key).images, faces().images)
    path = store.path("faces", key, ".npy")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StoreError, match="are gone"):
        read_faces(store, key)
    write_faces(store, "digest", "probe", faces())
    assert len(read_faces(store, key)) == 3


def test_other_landmarks_or_attributes_are_other_faces(tmp_path: Path) -> None:
    store = Store(tmp_path)
    key = write_faces(store, "digest", "probe", faces())
    moved = replace(faces(), landmarks=torch.zeros(3, 5, 2))
    older = replace(faces(), attributes={"age": torch.tensor([4, -1, 2])})
    assert len({key, *(write_faces(store, "digest", "probe", some) for some in (moved, older))}) == 3


_WRITER = """
import sys
from pathlib import Path
import numpy as np, torch
from cloakbench.bench.core.hashing import tensor_digest
from cloakbench.bench.store.store import Store
from cloakbench.bench.store.faces import read_faces, write_faces
from cloakbench.datasets.base import FaceSet

def anonymous_mib():
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon")]
    return int(line.split()[1]) / 1024

class Watched(Store):
    def _write(self, path, content):
        def watched():
            for part in content:
                yield part
                peaks.append(anonymous_mib())
        super()._write(path, content if isinstance(content, bytes) else watched())

folder = Path(sys.argv[1])
count = 4000  # 144 MiB
with (folder / "raw").open("wb") as file:
    file.truncate(count * 3 * 112 * 112)
images = torch.from_numpy(np.memmap(folder / "raw", np.uint8, "c", shape=(count, 3, 112, 112)))
names = tuple(map(str, range(count)))
store = Watched(folder / "store")
before, peaks = anonymous_mib(), []
faces = FaceSet(images, names, names)
key = write_faces(store, "digest", "distractor", faces)
stored = read_faces(store, key)
assert tensor_digest(stored.images) == tensor_digest(images)
assert len(stored.digests()) == count
peaks.append(anonymous_mib())
print(max(peaks) - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_role_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    """Own memory, without the pages of mapped files, which the system takes back when it needs them."""
    done = subprocess.run([sys.executable, "-c", _WRITER, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 30


def test_digest_does_not_depend_on_how_a_tensor_lies_in_memory() -> None:
    whole = torch.randn(500, 70, 41, generator=torch.Generator().manual_seed(0))
    turned = whole.permute(2, 0, 1)
    assert tensor_digest(turned) == tensor_digest(turned.contiguous())
    assert tensor_digest(whole[:0]) != tensor_digest(whole[:0, :1])
    assert tensor_digest(torch.tensor(1.5)) != tensor_digest(torch.tensor([1.5]))
    import hashlib

    head = f"{whole.dtype} {tuple(whole.shape)}\n".encode()
    assert tensor_digest(whole) == hashlib.sha256(head + whole.numpy().tobytes()).hexdigest()[:32]
