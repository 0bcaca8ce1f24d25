"""Albums of drawn photos with known landmarks, and `cloakbench protect` called on them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.protect.run import ProtectOutcome, run_protect
from cloakbench.bench.protect.settings import Settings, read_settings
from cloakbench.datasets.alignment import ARCFACE_TEMPLATE
from cloakbench.datasets.detection import Detection
from cloakbench.datasets.photos import decode

CONFIG_DIR = str(Path(__file__).parent / "conf")
TEMPLATE = torch.tensor(ARCFACE_TEMPLATE)
POINT_COLUMNS = [f"{p}_{a}" for p in ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth") for a in "xy"]
NAMES = ("a.png", "b.jpg", "c.png", "trip/d.png")
POINTS = TEMPLATE * 1.3 + torch.tensor([35.0, 12.0])
"""A face of 146 pixels in the photos below, a little out of the middle."""


def save_photo(path: Path, seed: int, width: int = 230, height: int = 190, **options: Any) -> None:
    """Soft colours with fine grain, as far from black and white as a budget of 16 needs."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 9, 11, generator=draw)
    soft = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0] * 150 + 50
    pixels = (soft + torch.randn(3, height, width, generator=draw) * 4).clamp(20, 235).round().to(torch.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path, **options)


def write_points(table: Path, names: Sequence[str], points: Tensor = POINTS) -> None:
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", *POINT_COLUMNS])
        writer.writerows([name, *points.flatten().tolist()] for name in names)


def words(album: Path, output: str = "out", *more: str) -> list[str]:
    base = album.parent
    method = [] if any(word.startswith("method=") for word in more) else ["method=pgd", "method.steps=3"]
    return [
        f"input={album}",
        f"output={base / output}",
        f"landmarks_file={base / 'points.csv'}",
        f"paths.results={base / 'results'}",
        "model@surrogate=tiny1",
        *method,
        *more,
    ]


class NoFace:
    """Finds nothing."""

    def fingerprint(self) -> str:
        return "no face"

    def detect(self, images: Sequence[Tensor]) -> list[Detection]:
        return [Detection(torch.zeros(0, 4), torch.zeros(0, 5, 2), torch.zeros(0)) for _ in images]


def settings_of(album: Path, *more: str, output: str = "out") -> Settings:
    return read_settings(compose_config(words(album, output, *more), config_name="protect", config_dirs=[CONFIG_DIR]))


def protect(album: Path, output: str = "out", *more: str, detector: Any = None) -> ProtectOutcome:
    settings = settings_of(album, *more, output=output)
    return run_protect(replace(settings, finder=replace(settings.finder, detector=detector or NoFace())))


def rows(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "report.csv").set_index("file")


def pixels(path: Path) -> Tensor:
    return decode(path.read_bytes(), 100)


def files(folder: Path) -> dict[str, bytes]:
    """Everything a user sees in an output folder."""
    found = (path for path in folder.rglob("*") if path.is_file() and ".cloakbench" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
