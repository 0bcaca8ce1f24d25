"""Choice of the face, the landmarks file, and the detector's contract (real faces: test_real_faces.py)."""

import pickle
import sys
from pathlib import Path

import pytest
import torch

from cloakbench.datasets.detection import Detection, Mtcnn, choose_face, read_landmarks
from cloakbench.datasets.photos import DatasetError

POINTS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
HEADER = "file," + ",".join(f"{point}_{axis}" for point in POINTS for axis in "xy")


def detection(*boxes: tuple[float, float, float, float]) -> Detection:
    return Detection(torch.tensor(boxes).view(-1, 4), torch.zeros(len(boxes), 5, 2), torch.ones(len(boxes)))


def test_large_and_central_face_is_chosen():
    centre, corner = (70.0, 70.0, 130.0, 130.0), (0.0, 0.0, 64.0, 64.0)
    assert choose_face(detection(corner, centre), 200, 200) == 1
    assert choose_face(detection(centre, corner), 200, 200) == 0
    assert choose_face(detection((80.0, 80.0, 110.0, 110.0), (20.0, 20.0, 160.0, 160.0)), 200, 200) == 1


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (19, 19), (20, 20), (64, 48), (1030, 40)])
def test_mtcnn_finds_nothing_in_a_photo_without_face(size: tuple[int, int]):
    pytest.importorskip("facenet_pytorch")
    noise = torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    [found] = Mtcnn().detect([noise])
    assert found.boxes.shape == (0, 4)
    assert found.landmarks.shape == (0, 5, 2)


def test_mtcnn_travels_without_its_networks():
    pytest.importorskip("facenet_pytorch")
    detector = Mtcnn(max_side=64)
    detector.detect([torch.zeros(3, 40, 40, dtype=torch.uint8)])
    assert len(pickle.dumps(detector)) < 1000
    assert pickle.loads(pickle.dumps(detector)).fingerprint() == detector.fingerprint()


def test_missing_package_names_the_remedy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "facenet_pytorch", None)
    with pytest.raises(DatasetError, match=r"pip install 'cloakbench\[detect\]'"):
        Mtcnn().detect([torch.zeros(3, 50, 50, dtype=torch.uint8)])


def test_fingerprint_tells_settings_apart():
    pytest.importorskip("facenet_pytorch")
    assert Mtcnn().fingerprint() == Mtcnn().fingerprint()
    assert len({Mtcnn().fingerprint(), Mtcnn(min_score=0.8).fingerprint(), Mtcnn(max_side=640).fingerprint()}) == 3


def test_landmarks_are_found_beside_the_file_or_in_the_root(tmp_path: Path):
    for name in ("faces/ann/1.png", "elsewhere/bob/2.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    table = tmp_path / "points.csv"
    table.write_text(
        f"{HEADER},extra\nfaces/ann/1.png,{'1,2,' * 5}x\nbob/2.png,{'3,4.5,' * 5}\nann/gone.png,{'0,0,' * 5}\n"
    )
    points = read_landmarks(table, tmp_path / "elsewhere")
    assert {path.name: values.tolist() for path, values in points.items()} == {
        "1.png": [[1, 2]] * 5,
        "2.png": [[3, 4.5]] * 5,
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("file,left_eye_x\n", "line 1: there is no column left_eye_y"),
        (f"{HEADER}\nann/1.png,1,2,three,4,5,6,7,8,9,10\n", "line 2: .*three"),
        (f"{HEADER}\nann/1.png,1,2\n", "line 2: 11 values"),
        (f"{HEADER}\nann/9.png,1,2,3,4,5,6,7,8,9,10\n", "names no existing photo"),
        ("\x00\x01", "line 1: a NUL character"),
    ],
)
def test_landmarks_file_with_a_fault(tmp_path: Path, text: str, reason: str):
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann/1.png").touch()
    table = tmp_path / "points.csv"
    table.write_text(text)
    with pytest.raises(DatasetError, match=reason):
        read_landmarks(table, tmp_path)


def test_missing_landmarks_file(tmp_path: Path):
    with pytest.raises(DatasetError, match=r"cannot read dataset.landmarks_file .*: No such file"):
        read_landmarks(tmp_path / "none.csv", tmp_path)
