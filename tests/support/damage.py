"""Damages files at random, the same way for the same seed."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from pathlib import Path

DAMAGES = ("flip", "truncate", "delete", "swap", "copy", "zeros", "append", "empty")


def entries(root: Path) -> list[Path]:
    """The entries of a store or cache in a fixed order, without locks and temporary files."""
    files = (path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))
    return sorted(path for path in files if path.parent.name != "locks" and path.suffix != ".lock")


def damage_some(root: Path, draw: random.Random, most: int = 8) -> list[str]:
    """Damage up to ``most`` entries, each kind of entry as likely as any other; returns what was done to which."""
    by_kind: dict[str, list[Path]] = {}
    for path in entries(root):
        by_kind.setdefault(path.relative_to(root).parts[0], []).append(path)
    done = []
    for _ in range(draw.randint(1, most)):
        kind = draw.choice(sorted(by_kind))
        path = draw.choice(by_kind[kind])
        how = draw.choice(DAMAGES)
        if path.exists():
            damage(path, how, draw, by_kind[kind])
            done.append(f"{how} {path.relative_to(root)}")
    return done


def damage(path: Path, how: str, draw: random.Random, others: Sequence[Path]) -> None:
    """Do one thing to a file; ``others`` are files that it may be swapped with or replaced by."""
    content = bytearray(path.read_bytes())
    partner = draw.choice([other for other in others if other.exists()])
    match how:
        case "flip" if content:
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        case "truncate":
            del content[draw.randrange(len(content) + 1) :]
        case "append":
            content += bytes(draw.randrange(256) for _ in range(draw.randint(1, 100)))
        case "zeros":
            start = draw.randrange(len(content) + 1)
            stop = draw.randint(start, len(content))
            content[start:stop] = bytes(stop - start)
        case "empty":
            content.clear()
        case "delete":
            path.unlink()
            return
        case "copy":
            shutil.copyfile(partner, path) if partner != path else None
            return
        case "swap":
            content, theirs = partner.read_bytes(), content
            partner.write_bytes(theirs)
    path.write_bytes(content)
