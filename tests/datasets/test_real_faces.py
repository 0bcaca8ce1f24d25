"""Real photographs: MTCNN and the aligner against landmarks and crops made by other code; skipped without the pack."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from real_pack import PACK, requires_pack

from cloakbench.datasets.alignment import ARCFACE_TEMPLATE, similarity_transform, warp
from cloakbench.datasets.detection import Mtcnn, choose_face, read_landmarks
from cloakbench.datasets.photo_set import PhotoSet
from cloakbench.datasets.photos import decode

TEMPLATE = torch.tensor(ARCFACE_TEMPLATE)

pytestmark = requires_pack


@pytest.fixture(scope="module")
def landmarks() -> dict[Path, torch.Tensor]:
    return read_landmarks(PACK / "landmarks.csv", PACK)


@pytest.fixture(scope="module")
def detector() -> Mtcnn:
    pytest.importorskip("facenet_pytorch")
    return Mtcnn()


def lfw(step: int = 1) -> list[Path]:
    folders = [folder for folder in (PACK / "faces").iterdir() if not folder.name.startswith(("orl", "hires"))]
    return sorted(path for folder in folders for path in folder.iterdir())[::step]


def reference_crop(photo: Path) -> torch.Tensor:
    file = PACK / "aligned112" / photo.parent.name / f"{photo.stem}.png"
    return torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1)


def difference(crop: torch.Tensor, photo: Path) -> float:
    return float((crop.float() - reference_crop(photo).float()).abs().mean())


def test_warp_reproduces_the_crops_of_another_aligner(landmarks: dict[Path, torch.Tensor]):
    """All but the photos that are shrunk more than twice, which we average first: rounding is the only difference."""
    compared = 0
    for path in lfw(3):
        matrix = similarity_transform(landmarks[path.resolve()], TEMPLATE)
        if float(matrix[:, 0].norm()) > 0.5:
            assert difference(warp(decode(path.read_bytes(), 1), matrix), path) < 0.2
            compared += 1
    assert compared > 100


@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_detection_agrees_with_other_landmarks(step: int, detector: Mtcnn, landmarks: dict[Path, torch.Tensor]):
    """Measured on all 340 LFW photos: every face found, the same face chosen, median distance 1.10 pixels, crops
    6.1 grey levels apart in the median: the pack's MTCNN resamples differently."""
    errors, crops = [], []
    for path in lfw(step):
        photo = decode(path.read_bytes(), 1)
        [found] = detector.detect([photo])
        row = choose_face(found, *photo.shape[1:])
        assert row is not None, path
        errors.append(found.landmarks[row] - landmarks[path.resolve()])
        crops.append(difference(warp(photo, similarity_transform(found.landmarks[row], TEMPLATE)), path))
    offsets = torch.stack(errors).double()
    assert offsets.norm(dim=-1).median() < 1.5
    assert offsets.norm(dim=-1).mean(1).max() < 8  # no other face, no lost eye
    assert offsets.flatten(0, 1).median(0).values.abs().max() < 0.4  # no systematic shift
    assert np.median(crops) < 8


def test_mirrored_photo_gives_mirrored_landmarks(detector: Mtcnn):
    shifts = []
    for path in lfw(17):
        photo = decode(path.read_bytes(), 1)
        [found], [mirrored] = detector.detect([photo]), detector.detect([photo.flip(2)])
        points = found.landmarks[choose_face(found, *photo.shape[1:]) or 0]
        back = mirrored.landmarks[choose_face(mirrored, *photo.shape[1:]) or 0][[1, 0, 2, 4, 3]]
        shifts.append((points[:, 0] + back[:, 0] - (photo.shape[2] - 1)).median() / 2)
    assert torch.stack(shifts).median().abs() < 0.3


@pytest.mark.slow
def test_reduction_of_large_photos_moves_no_landmark(detector: Mtcnn):
    """Photos enlarged from 250 to 2000 pixels, which the detector sees at 1000: no shift of the points on average."""
    shifts = []
    for path in lfw(43):
        photo = decode(path.read_bytes(), 1)
        large = torch.nn.functional.interpolate(photo[None].float(), scale_factor=8, mode="bilinear")[0].round().byte()
        [small_found], [large_found] = detector.detect([photo]), detector.detect([large])
        small = small_found.landmarks[choose_face(small_found, *photo.shape[1:]) or 0]
        back = (large_found.landmarks[choose_face(large_found, *large.shape[1:]) or 0] + 0.5) / 8 - 0.5
        shifts.append(back - small)
    assert torch.cat(shifts).median(0).values.abs().max() < 0.6


def test_detection_does_not_depend_on_other_photos(detector: Mtcnn):
    first, second = (decode(path.read_bytes(), 1) for path in lfw()[:2])
    [alone] = detector.detect([first])
    together = detector.detect([second, first])[1]
    assert torch.equal(alone.landmarks, together.landmarks)


def test_photo_set_accounts_for_every_photo():
    """With the pack's landmarks, so that all 450 photos are read in seconds."""
    options = {"probes_per_identity": None, "distractors_per_identity": None}
    data = PhotoSet(PACK / "faces", landmarks_file=PACK / "landmarks.csv", **options)
    with (PACK / "landmarks.csv").open(newline="") as stream:
        listed = {
            row["file"].removeprefix("faces/") for row in csv.DictReader(stream) if row["file"].startswith("faces/")
        }
    entries = data.manifest().entries
    assert {entry.image_id for entry in entries} == listed
    assert {entry.status for entry in entries} == {"ok"}
    assert len(data.faces("reference").identities()) == 80
    assert len(data.faces("distractor").identities()) == 43


@pytest.mark.slow
def test_recognition_survives_our_own_detector(detector: Mtcnn):
    """Leave-one-out Top-1 on LFW; the pack reports 299/300 with its own crops."""
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(PACK / "weights" / "mobilefacenet_casia.onnx")
    options = {"references_per_identity": 0, "probes_per_identity": None, "distractors_per_identity": None}
    data = PhotoSet(PACK / "faces", detector=detector, **options)
    faces = [data.faces(role) for role in ("probe", "distractor")]
    names = np.array([name for part in faces for name in part.identity])
    images = torch.cat([part.images for part in faces])
    keep = np.array([not name.startswith(("orl", "hires")) for name in names])
    crops = images[torch.from_numpy(keep)][:, :, :, 8:104].float().sub(127.5).div(128).numpy()
    embeddings = np.concatenate([session.run(None, {"input": crops[i : i + 20]})[0] for i in range(0, len(crops), 20)])
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    names = names[keep]
    cosine = embeddings @ embeddings.T
    np.fill_diagonal(cosine, -1)
    probes = np.isin(names, [name for name in set(names) if (names == name).sum() > 1])
    hits = (names[cosine.argmax(1)] == names)[probes]
    assert len(hits) == 300
    assert hits.sum() >= 297
