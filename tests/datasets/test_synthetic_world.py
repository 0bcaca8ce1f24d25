"""Roles, names, training faces, and the cache of rendered faces."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from cloakbench.datasets.base import FaceSet
from cloakbench.datasets.synthetic import render_cache
from cloakbench.datasets.synthetic.face_batch import ATTRIBUTES
from cloakbench.datasets.synthetic.person_labels import LABELS
from cloakbench.datasets.synthetic.world import SyntheticWorld, training_faces

SMALL: dict[str, Any] = {
    "identities": 3, "references_per_identity": 2, "probes_per_identity": 2, "distractors": 5,
    "auxiliary_identities": 2, "auxiliary_images": 2, "impostor_identities": 2, "impostor_images": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def world() -> SyntheticWorld:
    return SyntheticWorld(**SMALL)


def test_roles_share_no_photo_and_only_persons_share_people(world: SyntheticWorld) -> None:
    faces = {role: world.faces(role) for role in world.roles()}
    assert {role: len(found) for role, found in faces.items()} == {
        "reference": 6, "probe": 6, "distractor": 5, "auxiliary": 4, "impostor": 4,
    }  # fmt: skip
    photos = [photo for found in faces.values() for photo in found.image_id]
    assert len(set(photos)) == len(photos)
    assert faces["reference"].identities() == faces["probe"].identities()
    groups = [set(faces[role].identity) for role in ("probe", "distractor", "auxiliary", "impostor")]
    groups.append(set(training_faces(identities=2, images_per_identity=1).identity))
    assert len(set().union(*groups)) == sum(len(group) for group in groups)


def test_people_of_one_name_look_alike_in_both_roles(world: SyntheticWorld) -> None:
    reference, probe = world.faces("reference"), world.faces("probe")
    for label in ("gender", "age", "complexion", "hair_color"):
        assert torch.equal(reference.attributes[label], probe.attributes[label])
    assert not torch.equal(reference.images, probe.images)


def test_faces_carry_landmarks_and_every_attribute(world: SyntheticWorld) -> None:
    faces = world.faces("probe")
    assert faces.landmarks is not None and faces.landmarks.shape == (6, 5, 2)
    assert set(faces.attributes) == {*ATTRIBUTES, *LABELS}
    assert all(values.dtype == torch.int64 for values in faces.attributes.values())


def test_manifest_digest_is_stable_and_follows_the_configuration(world: SyntheticWorld) -> None:
    digest = world.manifest().digest()
    assert SyntheticWorld(**SMALL).manifest().digest() == digest
    assert SyntheticWorld(**SMALL, seed=1).manifest().digest() != digest
    assert SyntheticWorld(**SMALL, identity_scale=1.0).manifest().digest() != digest


def test_more_photos_do_not_change_the_others(world: SyntheticWorld) -> None:
    larger = SyntheticWorld(**SMALL | {"probes_per_identity": 3, "identities": 4}).faces("probe")
    rows = [larger.image_id.index(photo) for photo in world.faces("probe").image_id]
    assert torch.equal(larger.select(rows).images, world.faces("probe").images)


def test_published_photos_are_split_by_person_and_shared_with_no_other_role() -> None:
    published = {"poison_identities": 3, "poison_images": 10, "poison_test_share": 0.2}
    world = SyntheticWorld(**SMALL, **published)
    train, test = world.faces("train"), world.faces("test")
    assert (len(train), len(test)) == (3 * 8, 3 * 2)
    assert train.identities() == test.identities()
    assert all(train.identity.count(name) == 8 for name in train.identities())
    assert not set(train.image_id) & set(test.image_id)
    for role in ("reference", "probe", "distractor", "auxiliary", "impostor"):
        assert not set(world.faces(role).identity) & set(train.identity)
    again = SyntheticWorld(**SMALL, **published).faces("test")
    assert again.image_id == test.image_id
    assert torch.equal(again.images, test.images)
    drawn = {tuple(photo.rpartition("-")[2] for photo in test.image_id[row : row + 2]) for row in (0, 2, 4)}
    assert len(drawn) > 1, "each person's test photos are a draw of their own"


def test_published_photos_are_only_drawn_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    world = SyntheticWorld(**SMALL, poison_identities=2, poison_images=5)
    monkeypatch.setattr(world, "_divide", lambda names: pytest.fail("rendered unasked"))
    assert {"train", "test"} <= set(world.roles())
    world.faces("probe")
    assert "train" not in SyntheticWorld(**SMALL).roles()


def test_a_share_that_leaves_nothing_to_train_or_test_on_is_refused() -> None:
    with pytest.raises(ValueError, match="leaves no photo to train on or to test on"):
        SyntheticWorld(poison_identities=2, poison_images=5, poison_test_share=0.0)


def test_a_role_without_photos_does_not_exist() -> None:
    world = SyntheticWorld(**SMALL | {"impostor_identities": 0})
    assert "impostor" not in world.roles()
    with pytest.raises(KeyError, match="no 'impostor' faces"):
        world.faces("impostor")


@pytest.mark.parametrize("wrong", [{"identities": -1}, {"identity_scale": 0.0}, {"nuisance_scale": -0.1}])
def test_impossible_worlds_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is .*: it must be"):
        SyntheticWorld(**wrong)


def train(cache: Path | None, **options: Any) -> FaceSet:
    return training_faces(identities=6, images_per_identity=4, cache=cache, **options)


def test_ranges_of_training_people_agree() -> None:
    whole, part = train(None), training_faces(first_identity=4, identities=2, images_per_identity=4)
    assert part.image_id == whole.image_id[16:]
    assert torch.equal(part.images, whole.images[16:])


def test_cached_faces_are_the_same_and_are_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render_cache, "SHARD", 10)
    steps: list[tuple[int, int]] = []
    first = train(tmp_path, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(10, 24), (20, 24), (24, 24)]
    monkeypatch.setattr(render_cache, "_draw_shards", lambda *_: pytest.fail("drawn again"))
    second = train(tmp_path)
    plain = train(None)
    for faces in (first, second):
        assert torch.equal(faces.images, plain.images)
        assert faces.landmarks is not None and plain.landmarks is not None
        assert torch.equal(faces.landmarks, plain.landmarks)
        assert all(torch.equal(faces.attributes[name], plain.attributes[name]) for name in ATTRIBUTES)


@pytest.mark.slow
def test_two_workers_draw_the_same_faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render_cache, "SHARD", 12)
    assert torch.equal(train(tmp_path, workers=2).images, train(None).images)


def test_a_world_is_drawn_by_as_many_threads_as_there_are_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same faces; each of the first two shards waits for the other, so one thread alone would never get on."""
    meeting, draw = threading.Barrier(2, timeout=60), render_cache._draw_shard

    def met(part: render_cache.FaceBatch, folder: Path) -> int:
        meeting.wait()
        return draw(part, folder)

    monkeypatch.setattr(render_cache, "SHARD", 4)
    monkeypatch.setattr(render_cache, "_draw_shard", met)
    monkeypatch.setattr(f"{SyntheticWorld.__module__}.available_cores", lambda: 2)
    sizes = SMALL | {"distractors": 8}
    drawn = SyntheticWorld(**sizes, cache=tmp_path).faces("distractor")
    assert torch.equal(drawn.images, SyntheticWorld(**sizes).faces("distractor").images)


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_damaged_files_are_drawn_again(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    whole = train(tmp_path).images.clone()
    (path,) = tmp_path.rglob("images.npy")
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
    path.write_bytes({"flip": data, "truncate": data[:-1000], "empty": b""}[damage])
    with caplog.at_level(logging.WARNING):
        assert torch.equal(train(tmp_path).images, whole)
    assert caplog.text.count("is damaged") == 1
    caplog.clear()
    train(tmp_path)
    assert not caplog.text


KILLED = """
import sys
from cloakbench.datasets.synthetic import render_cache
from cloakbench.datasets.synthetic.world import training_faces
render_cache.SHARD = 4
training_faces(identities=200, images_per_identity=4, cache=sys.argv[1])
"""


def test_a_killed_rendering_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)])
    try:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.rglob("attributes.npy"))) < 3:
            assert time.monotonic() < deadline and child.poll() is None
            time.sleep(0.02)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("0*/attributes.npy")}
    assert finished

    drawn: list[str] = []
    draw = render_cache._draw_shard

    def stop_after_one(part: render_cache.FaceBatch, folder: Path) -> int:
        drawn.append(folder.name)
        draw(part, folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(render_cache, "SHARD", 4)
    monkeypatch.setattr(render_cache, "_draw_shard", stop_after_one)
    with pytest.raises(KeyboardInterrupt):
        training_faces(identities=200, images_per_identity=4, cache=tmp_path)
    assert drawn == [f"{4 * len(finished):07d}"], "the first unfinished shard comes next"
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


ROUNDS = 3


def _draw_at_once(cache: Path, barrier: Any, answers: Any) -> None:
    torch.set_num_threads(1)
    for number in range(ROUNDS):
        world = SyntheticWorld(**SMALL, seed=number, cache=cache / str(number))
        barrier.wait(120)
        try:
            answers.put(world.manifest().digest())
        except Exception as problem:
            answers.put(f"{type(problem).__name__}: {problem}")


@pytest.mark.slow
def test_processes_that_want_the_same_faces_at_once_all_get_them(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(2), context.Queue()
    processes = [context.Process(target=_draw_at_once, args=(tmp_path, barrier, answers)) for _ in range(2)]
    for process in processes:
        process.start()
    found = [answers.get(timeout=240) for _ in range(2 * ROUNDS)]
    for process in processes:
        process.join()
    assert Counter(found) == {SyntheticWorld(**SMALL, seed=number).manifest().digest(): 2 for number in range(ROUNDS)}
    assert not [path for path in tmp_path.rglob("*") if path.name in ("shards",) or path.suffix == ".lock"]
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {
        f"{part}.npy" for part in render_cache.PARTS
    }


def test_groups_of_people_share_somebody_to_be_mistaken_for() -> None:
    world = SyntheticWorld(identities=7, auxiliary_identities=3, auxiliary_images=2, aim_groups=3)
    aims = world.aims()
    assert [name.rpartition("-")[2] for name in aims.values()] == [
        "0000",
        "0001",
        "0002",
        "0000",
        "0001",
        "0002",
        "0000",
    ]
    assert tuple(aims) == world.faces("probe").identities()
    assert set(aims.values()) == set(world.faces("auxiliary").identities())
    assert SyntheticWorld(identities=7).aims() == {}
    with pytest.raises(ValueError, match="aim_groups=4 takes as many auxiliary people with two photos each"):
        SyntheticWorld(auxiliary_identities=3, auxiliary_images=2, aim_groups=4)
