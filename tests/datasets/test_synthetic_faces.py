"""The renderer: what a photo depends on, and what is on it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from cloakbench.datasets.synthetic.face_batch import ATTRIBUTES, FaceBatch, Sheet
from cloakbench.datasets.synthetic.geometry import TEMPLATE
from cloakbench.datasets.synthetic.identity import sample_identities
from cloakbench.datasets.synthetic.nuisance import sample_nuisances
from cloakbench.datasets.synthetic.palette import HAIR_NAMES
from cloakbench.datasets.synthetic.table import Traits


def make_batch(people: int, photos: int, nuisance_scale: float = 1.0) -> FaceBatch:
    names = [f"test/{person}" for person in range(people) for _ in range(photos)]
    return FaceBatch(tuple(f"{name}/{row}" for row, name in enumerate(names)), tuple(names), 1.3, nuisance_scale)


def pick(batch: FaceBatch, rows: list[int]) -> FaceBatch:
    return replace(batch, photos=tuple(batch.photos[i] for i in rows), people=tuple(batch.people[i] for i in rows))


@pytest.fixture(scope="module")
def batch() -> FaceBatch:
    return make_batch(people=10, photos=4)


@pytest.fixture(scope="module")
def sheet(batch: FaceBatch) -> Sheet:
    return batch.render()


def assert_same(sheet: Sheet, other: Sheet, rows: list[int]) -> None:
    assert torch.equal(sheet.images, other.images[rows])
    assert torch.equal(sheet.landmarks, other.landmarks[rows])
    assert torch.equal(sheet.attributes, other.attributes[rows])


def test_rendering_again_gives_the_same_bytes(batch: FaceBatch, sheet: Sheet) -> None:
    assert_same(batch.render(), sheet, list(range(len(batch))))


def test_order_does_not_matter(batch: FaceBatch, sheet: Sheet) -> None:
    rows = torch.randperm(len(batch), generator=torch.Generator().manual_seed(1)).tolist()
    assert_same(pick(batch, rows).render(), sheet, rows)


@pytest.mark.parametrize("rows", [[7], [0, 39], [3, 9, 27], list(range(5, 22)), list(range(0, 40, 3))])
def test_the_other_photos_of_the_call_do_not_matter(batch: FaceBatch, sheet: Sheet, rows: list[int]) -> None:
    assert_same(pick(batch, rows).render(), sheet, rows)


def test_thread_count_does_not_matter_and_is_restored(batch: FaceBatch, sheet: Sheet) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert_same(batch.part(0, 16).render(), sheet, list(range(16)))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_global_random_state_is_neither_read_nor_written(batch: FaceBatch, sheet: Sheet) -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    assert_same(batch.part(0, 16).render(), sheet, list(range(16)))
    assert torch.equal(torch.get_rng_state(), state)


def test_landmarks_sit_on_the_template(sheet: Sheet) -> None:
    offset = (sheet.landmarks - TEMPLATE).norm(dim=-1)
    assert offset.median() < 4, "detector jitter and pose move landmarks by a few pixels"
    assert offset.max() < 16


def test_frontal_landmarks_sit_close_to_the_template() -> None:
    offset = (make_batch(12, 1, nuisance_scale=0.0).render().landmarks - TEMPLATE).norm(dim=-1)
    assert offset.max() < 5


def test_pupils_are_darker_than_the_cheeks() -> None:
    """The landmarks say where the features are, so the features must be there."""
    batch = make_batch(24, 1, nuisance_scale=0.0)
    sheet = batch.render()
    bare = sheet.attributes[:, list(ATTRIBUTES).index("glasses")] == 0
    grey = sheet.images.float().mean(1)
    rows = torch.arange(len(batch))[bare]
    assert len(rows) >= 10

    def brightness(point: torch.Tensor) -> torch.Tensor:
        x, y = point.round().long().unbind(-1)
        patch = [grey[rows, y + dy, x + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        return torch.stack(patch).mean(0)

    for eye in (0, 1):
        pupil = sheet.landmarks[rows, eye]
        cheek = pupil + torch.tensor([0.0, 18.0])
        assert (brightness(pupil) < brightness(cheek)).float().mean() > 0.9


def test_people_differ_more_than_their_photos() -> None:
    sheet = make_batch(people=12, photos=6, nuisance_scale=0.5).render()
    features = torch.nn.functional.avg_pool2d(sheet.images.float(), 8).flatten(1)
    distance = torch.cdist(features, features)
    same = torch.block_diag(*[torch.ones(6, 6)] * 12).bool() & ~torch.eye(72, dtype=torch.bool)
    assert distance[same].mean() < 0.75 * distance[~same & ~torch.eye(72, dtype=torch.bool)].mean()


def test_identity_scale_spreads_people_and_keeps_labels() -> None:
    names = [str(person) for person in range(64)]
    narrow, wide = (sample_identities(names, scale=scale) for scale in (0.5, 1.5))
    assert wide.column("eye_tilt").std() > 1.5 * narrow.column("eye_tilt").std()
    assert torch.equal(wide.column("gender"), narrow.column("gender"))


def test_nuisance_scale_zero_is_a_photo_booth() -> None:
    names = [str(photo) for photo in range(32)]
    shots = sample_nuisances(names, sample_identities(names), scale=0.0)
    for still in ("yaw", "pitch", "blur", "occluder", "compression", "sensor_noise", "shift_x_px"):
        assert not shots.column(still).any(), still


@pytest.fixture(scope="module")
def crowd() -> tuple[Traits, Traits]:
    names = [f"crowd/{person}" for person in range(2000)]
    people = sample_identities(names)
    return people, sample_nuisances(names, people)


@pytest.mark.parametrize("label", ["gender", "age", "complexion", "expression"])
def test_attributes_are_balanced(crowd: tuple[Traits, Traits], label: str) -> None:
    table = crowd[1] if label == "expression" else crowd[0]
    counts = table.column(label).bincount(minlength=len(ATTRIBUTES[label]))
    assert len(counts) == len(ATTRIBUTES[label])
    assert counts.min() > 0.85 * counts.float().mean()


@pytest.mark.parametrize(("label", "least"), [("hair_color", 0.03), ("glasses", 0.12)])
def test_rarer_attributes_are_not_rare(crowd: tuple[Traits, Traits], label: str, least: float) -> None:
    table = crowd[1] if label == "glasses" else crowd[0]
    shares = table.column(label).bincount(minlength=len(ATTRIBUTES[label])) / 2000
    assert shares.min() > least


def test_age_shows(crowd: tuple[Traits, Traits]) -> None:
    people, _ = crowd
    bucket, grey = people.column("age"), people.column("hair_color") == HAIR_NAMES.index("grey")
    assert grey[bucket == 4].float().mean() > 0.95
    assert not grey[bucket < 2].any()
    for name, sign in (("eye_upper", -1), ("nose_length", 1), ("wrinkles", 1), ("bags", 1), ("chin", 1)):
        child, senior = (people.column(name)[bucket == age].mean() for age in (0, 4))
        assert sign * (senior - child) > 0, name


def test_hairstyles_vary(crowd: tuple[Traits, Traits]) -> None:
    shares = crowd[0].column("hair_style").bincount(minlength=13) / 2000
    assert (shares > 0.005).all()
    assert shares.max() < 0.3
