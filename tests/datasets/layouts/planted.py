"""Small fake copies of every data set layout: folders, label files and formats of the original, invented content.

Photos are plain colours that differ from each other. ``PLANTED`` has a builder for each named data set of
``conf/dataset``; it fills a folder, which becomes the data set's root.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from PIL import Image

MAGIC = 0xCED7230A

CELEBA_ATTRIBUTES = [
    *("5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs", "Big_Lips", "Big_Nose"),
    *("Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows", "Chubby", "Double_Chin", "Eyeglasses"),
    *("Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache"),
    *("Narrow_Eyes", "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks"),
    *("Sideburns", "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick"),
    *("Wearing_Necklace", "Wearing_Necktie", "Young"),
]
CELEBA_POINTS = " ".join(
    f"{point}_{axis}" for point in ("lefteye", "righteye", "nose", "leftmouth", "rightmouth") for axis in "xy"
)


def picture(shade: int, width: int = 178, height: int = 218) -> bytes:
    """A JPEG whose content depends on ``shade``."""
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (shade & 255, shade >> 8 & 255, shade >> 16 & 255)).save(stream, "JPEG")
    return stream.getvalue()


def photos(root: Path, names: Iterable[str], width: int = 178, height: int = 218) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(zlib.crc32(name.encode()), width, height))


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def people(names: Mapping[str, int]) -> list[str]:
    """``<Name>/<Name>_0001.jpg`` and so on."""
    return [f"{name}/{name}_{n:04d}.jpg" for name, count in names.items() for n in range(1, count + 1)]


def lfw(root: Path) -> None:
    photos(root / "lfw", people({"Ann_Lee": 6, "Bo_Li": 5, "Cy_Oh": 4, "Dee_Ray": 3, "Eve_Fox": 2}), 250, 250)
    lines = ["Ann_Lee\t1\t4", "Bo_Li\t1\t2", "Ann_Lee\t1\tBo_Li\t2", "Cy_Oh\t3\tAnn_Lee\t2"]
    write(root / "pairs.txt", "2\t2", *lines, *reversed(lines[:2]), *reversed(lines[2:]))


def casia_webface(root: Path) -> None:
    photos(root, [f"{person:07d}/{n:03d}.jpg" for person in (45, 99, 100, 107) for n in range(1, 6)], 250, 250)


def record(flag: int, labels: Sequence[float], image: bytes = b"", key: int = 0, part: int = 0) -> bytes:
    """One RecordIO record; a photo of InsightFace's packing has flag 0 and one label, or flag 2 and two."""
    header = struct.pack("<IfQQ", flag, 0.0 if flag else labels[0], key, 0)
    data = header + (struct.pack(f"<{flag}f", *labels) if flag else b"") + image
    return struct.pack("<II", MAGIC, part << 29 | len(data)) + data + b"\0" * (-len(data) % 4)


def record_files(root: Path, records: Iterable[bytes]) -> None:
    """``train.rec`` and ``train.idx`` with keys 0, 1, ..."""
    root.mkdir(parents=True, exist_ok=True)
    index, offset = [], 0
    with (root / "train.rec").open("wb") as file:
        for key, content in enumerate(records):
            file.write(content)
            index.append(f"{key}\t{offset}")
            offset += len(content)
    write(root / "train.idx", *index)


def casia_webface_recordio(root: Path) -> None:
    count, per_person = 20, 5
    end = 1 + count + count // per_person
    head = [record(2, [count + 1, end])]
    body = []
    for key in range(1, count + 1):
        label = (key - 1) // per_person
        body.append(record(2, [label, 1], picture(key), key) if key % 2 else record(0, [label], picture(key), key))
    ranges = [record(2, [first, first + per_person]) for first in range(1, count + 1, per_person)]
    record_files(root, [*head, *body, *ranges])


def celeba(root: Path) -> None:
    names = [f"{n:06d}.jpg" for n in range(1, 21)]
    photos(root / "img_align_celeba", names)
    write(root / "list_attr_celeba.txt", "20", " ".join(CELEBA_ATTRIBUTES), *map(_attribute_row, names))
    points = [f"{name} {69 + n} 111 108 111 88 136 72 152 105 {152 + n}" for n, name in enumerate(names)]
    write(root / "list_landmarks_align_celeba.txt", "20", CELEBA_POINTS, *points)
    write(root / "identity_CelebA.txt", *(f"{name} {2880 + n // 4}" for n, name in enumerate(names)))
    write(root / "list_eval_partition.txt", *(f"{name} {n // 12 + n // 16}" for n, name in enumerate(names)))


def _attribute_row(name: str) -> str:
    """Attribute k of photo n is present where n + k is even; two spaces, as in the published file."""
    number = int(Path(name).stem)
    return f"{name}  " + "  ".join("1" if (number + k) % 2 == 0 else "-1" for k in range(len(CELEBA_ATTRIBUTES)))


def celeba_hq(root: Path) -> None:
    names = [f"{n}.jpg" for n in range(20)]
    photos(root / "CelebA-HQ-img", names)
    rows = map(_attribute_row, names)
    write(root / "CelebAMask-HQ-attribute-anno.txt", "20", " ".join(CELEBA_ATTRIBUTES), *rows)
    originals = [f"{1000 - n:06d}.jpg" for n in range(20)]
    mapping = [f"{n:<10}{1000 - n - 1:<10}{name}" for n, name in enumerate(originals)]
    write(root / "CelebA-HQ-to-CelebA-mapping.txt", "idx        orig_idx   orig_file", *mapping)
    write(root / "identity_CelebA.txt", *(f"{name} {70 + n // 2}" for n, name in enumerate(originals)), "000001.jpg 5")


def utkface(root: Path) -> None:
    names = [f"{age}_{age % 2}_{age % 5}_2017011617402{age:04d}.jpg.chip.jpg" for age in range(18, 36)]
    photos(root / "UTKFace", [*names, "61_1_20170109142408075.jpg.chip.jpg", "117_0_0_20170109142408075.jpg.chip.jpg"])


def vggface2(root: Path) -> None:
    photos(root / "test", [f"n{person:06d}/{n:04d}_01.jpg" for person in (1, 9, 29) for n in range(1, 6)])
    photos(root / "train", [f"n000002/{n:04d}_01.jpg" for n in range(1, 6)])
    rows = ['n000001, "14th_Dalai_Lama", 424, 0, m', 'n000002, "A_Fine, Frenzy", 315, 1, f', 'n000009, "X", 5, 0, f']
    write(root / "identity_meta.csv", "Class_ID, Name, Sample_Num, Flag, Gender", *rows)


def facescrub(root: Path) -> None:
    for group, names in {"actors": ("Al_Ba", "Bo_Ca"), "actresses": ("Cy_Da", "Di_Ea")}.items():
        faces = [f"{name}/{name}_{n}_{n + 7}.jpeg" for name in names for n in range(1, 6)]
        photos(root / group / "faces", faces)


def privacy_commons(root: Path) -> None:
    _opom(root, "privacy_train_v3_10.lst", "privacy_test_v3_5.lst", 5)
    distractors = [f"distractors/{n}.jpg" for n in range(6)]
    photos(root, distractors, 112, 112)
    write(root / "common_distractor.lst", *(f"{n} {name}" for n, name in enumerate(distractors)))


def privacy_celebrities(root: Path) -> None:
    _opom(root, "privacy_ms90w_train.lst", "privacy_ms90w_test.lst", 10)
    distractors = people({"Ann_Lee": 2, "Bo_Li": 1})
    photos(root / "lfw_112x112", distractors, 112, 112)
    write(root / "lfw.txt", *distractors)


def _opom(root: Path, train_list: str, test_list: str, test_per_person: int) -> None:
    for part, file, count in (("train", train_list, 10), ("test", test_list, test_per_person)):
        names = [f"faces/{person}/{part}_{n}.jpg" for person in ("xa", "xb") for n in range(count)]
        photos(root, names, 112, 112)
        write(root / file, *names)


def csv(root: Path) -> None:
    names = [f"some/where/{n}.jpg" for n in range(20)]
    photos(root, names)
    points = ["left_eye", "right_eye", "nose", "left_mouth", "right_mouth"]
    header = ["file", "identity", "role", "age", "url", *(f"{point}_{axis}" for point in points for axis in "xy")]
    rows = []
    for n, name in enumerate(names):
        role = ("", "probe", "reference", "probe")[n % 4] if n < 16 else "distractor"
        places = [""] * 10 if n == 3 else [str(10 * k + n + 0.5) for k in range(10)]
        rows.append(",".join([name, f"person {n // 4}", role, "" if n == 2 else str(20 + n), "x", *places]))
    write(root / "photos.csv", ",".join(header), *rows)


PLANTED: Mapping[str, Callable[[Path], None]] = {
    "lfw": lfw,
    "casia_webface": casia_webface,
    "casia_webface_recordio": casia_webface_recordio,
    "celeba": celeba,
    "celeba_hq": celeba_hq,
    "celeba_hq_impersonation": celeba_hq,
    "utkface": utkface,
    "vggface2": vggface2,
    "facescrub": facescrub,
    "privacy_commons": privacy_commons,
    "privacy_celebrities": privacy_celebrities,
    "csv": csv,
}
