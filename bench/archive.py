"""A run's results as files of their own, so that its report can be made again, or combined with others, at any time."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from cloakbench.bench.report.inputs import Example, Results
from cloakbench.datasets.provenance import code_digest

_FRAMES = ("measurements", "models", "methods", "costs", "thresholds")
_EPOCH = (1980, 1, 1, 0, 0, 0)


def save_results(results: Results, records: Mapping[str, pd.DataFrame], folder: Path) -> None:
    """Write ``folder/data``; `load_results` gives the same results back. Per-image records lie beside them."""
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    (data / "digest.txt").unlink(missing_ok=True)
    for name in _FRAMES:
        getattr(results, name).to_parquet(data / f"{name}.parquet", index=False)
    for protocol, frame in records.items():
        frame.to_parquet(data / f"records_{protocol}.parquet", index=False)
    with zipfile.ZipFile(data / "examples.zip", "w", zipfile.ZIP_STORED) as archive:
        for example in results.examples:
            for label, image in (("original", example.original), *example.protected.items()):
                png = io.BytesIO()
                Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(png, "PNG")
                name = json.dumps([example.image_id, label])
                archive.writestr(zipfile.ZipInfo(name, _EPOCH), png.getvalue())
    about = {
        "name": results.name,
        "dataset": results.dataset,
        "manifest_sha256": results.manifest_sha256,
        "setup": dict(results.setup),
    }
    (data / "about.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def load_results(folder: Path) -> Results:
    """Read what `save_results` wrote.

    Raises:
        FileNotFoundError: the folder holds no finished run; the message says where runs are.
    """
    data = folder / "data"
    if not (data / "about.json").exists():
        raise FileNotFoundError(f"{folder} holds no finished run: name a folder that has data/about.json")
    about = json.loads((data / "about.json").read_text(encoding="utf-8"))
    frames: dict[str, Any] = {name: pd.read_parquet(data / f"{name}.parquet") for name in _FRAMES}
    photos: dict[str, dict[str, torch.Tensor]] = {}
    with zipfile.ZipFile(data / "examples.zip") as archive:
        for member in archive.namelist():
            image_id, label = json.loads(member)
            pixels = np.asarray(Image.open(io.BytesIO(archive.read(member))))
            photos.setdefault(image_id, {})[label] = torch.from_numpy(pixels.copy()).permute(2, 0, 1).contiguous()
    examples = tuple(Example(image_id, shown.pop("original"), shown) for image_id, shown in photos.items())
    return Results(examples=examples, **about, **frames)


def mark_current(results: Results, folder: Path) -> None:
    """Note that the report in ``folder`` shows these results as the present code would."""
    (folder / "data" / "digest.txt").write_text(_digest(results) + "\n", encoding="utf-8")


def is_current(results: Results, folder: Path) -> bool:
    """Whether the report in ``folder`` was finished and shows these results as the present code would."""
    mark = folder / "data" / "digest.txt"
    return mark.exists() and mark.read_text(encoding="utf-8").strip() == _digest(results)


def _digest(results: Results) -> str:
    digest = hashlib.sha256(code_digest("cloakbench.bench.report.writer", __name__).encode())
    head = [results.name, results.dataset, results.manifest_sha256, dict(results.setup)]
    digest.update(json.dumps(head, sort_keys=True).encode())
    for name in _FRAMES:
        digest.update(getattr(results, name).to_csv(index=False).encode())
    for example in results.examples:
        for label, image in sorted(example.protected.items()):
            digest.update(label.encode() + image.numpy().tobytes())
    return digest.hexdigest()
