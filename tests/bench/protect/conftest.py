"""An album to protect."""

from __future__ import annotations

from pathlib import Path

import pytest
from albums import (
    NAMES,
    save_photo,
    write_points,
)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Four photos of one person, one of them in a folder, with their landmarks beside them."""
    folder = tmp_path / "album"
    for seed, name in enumerate(NAMES):
        save_photo(folder / name, seed, **({"quality": 95} if name.endswith("jpg") else {}))
    write_points(tmp_path / "points.csv", [f"album/{name}" for name in NAMES])
    return folder
