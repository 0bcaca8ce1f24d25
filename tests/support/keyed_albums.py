"""Albums whose photos were hidden with keys, and `cloakbench recover` called on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from albums import CONFIG_DIR, protect
from torch import Tensor
from veils import KEY

from cloakbench.bench.cli.recover import main
from cloakbench.bench.protect.keys.folder import KeyFolder
from cloakbench.bench.protect.keys.note import KeyNote


def hide(album: Path, output: str = "out", *more: str, keys: str = "keys") -> Path:
    """Every photo blended with its owner's noise; no problem may arise."""
    outcome = protect(album, output, "method=keyed_blend", f"keys={album.parent / keys}", *more)
    assert not outcome.problems
    return album.parent / output


def recover(published: Path, back: Path, keys: Path, *more: str) -> int:
    return main([f"input={published}", f"output={back}", f"keys={keys}", *more, "--config-dir", CONFIG_DIR])


def table(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "report.csv", keep_default_na=False).set_index("file")


def note_of(keys: Path, name: str) -> KeyNote:
    """The last one of a copy of that name."""
    return KeyFolder(keys).notes(name, "")[0]


def veil_in(keys: Path, name: str = "a.png") -> Tensor:
    """The veil ``[3, 112, 112]`` of a copy."""
    return KeyFolder(keys).keys(note_of(keys, name))[KEY][0]


def rewrite(keys: Path, name: str, **changed: Any) -> None:
    """Put a note back with other values, sealed as the command seals it."""
    path = keys / f"{name}.json"
    path.write_bytes(KeyNote(**{**vars(note_of(keys, name)), **changed}).content)
