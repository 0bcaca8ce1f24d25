"""Files of a trained network: its weights and, beside them, a card that says by which recipe they were made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cloakbench.bench.core.files.whole_file import whole_file


def recipe_digest(recipe: Mapping[str, Any]) -> str:
    """sha256 of plain settings, whatever their order."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def is_made(folder: Path, name: str, digest: str) -> bool:
    """Whether ``<name>.safetensors`` and ``<name>.json`` lie in a folder, belong together and are of that recipe."""
    weights, card = folder / f"{name}.safetensors", folder / f"{name}.json"
    if not (weights.exists() and card.exists()):
        return False
    known = json.loads(card.read_text())
    same_file = hashlib.sha256(weights.read_bytes()).hexdigest() == known.get("sha256")
    return same_file and known.get("recipe_digest") == digest


def write_made(folder: Path, weights: bytes, card: Mapping[str, Any]) -> None:
    """Write both; the card, which has the name, comes last."""
    with whole_file(folder / f"{card['name']}.safetensors") as file:
        file.write(weights)
    with whole_file(folder / f"{card['name']}.json") as file:
        file.write((json.dumps(card, indent=1) + "\n").encode())
