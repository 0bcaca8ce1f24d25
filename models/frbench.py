"""Recognisers of the ``frbench`` package (github.com/HKU-TASR/FRBench): 45 of them, backbone x loss x training set.

The package detects, aligns, embeds both the photo and its mirror image, and embeds the whole photo where it finds no
face. Here photos are aligned crops already, so all of that is switched off: crops go straight to the embedder, one
view each. Tested against a stand-in with the package's interface and, where the package is installed (1.1.3 was),
against itself with random weights; not run with the published weights, which it downloads on first use.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cloakbench.models.base import InputSpec, Recogniser
from cloakbench.models.frozen.network import freeze
from cloakbench.models.loading import assemble
from cloakbench.models.weight_file import WeightError


def load_frbench(
    name: str, backbone: str, loss: str, dataset: str, inputs: InputSpec, card: Mapping[str, Any]
) -> Recogniser:
    """A recogniser of the package.

    Args:
        name: key of the model in configs, records and tables.
        backbone, loss, dataset: the package's keys, such as ``irse-100``, ``arcface``, ``ms1m``;
            ``frbench-download --list-models`` prints them.
        inputs: must give RGB grey levels 0..255; the package normalises.
        card: see `cloakbench.models.loading.load_recogniser`; ``family`` is the part of ``backbone`` before the dash
            where it is None.

    Raises:
        WeightError: the package is not installed, has no such model, or could not fetch or load it.
    """
    try:
        frbench: Any = importlib.import_module("frbench")
    except ImportError as error:
        raise WeightError(f"model {name} needs the frbench package: pip install 'cloakbench[frbench]'") from error
    try:
        frbench.set_update_check(False)
        with torch.random.fork_rng(devices=[]):  # the package draws weights before it loads the published ones
            network = freeze(FrbenchNetwork(frbench.FR(backbone, loss, dataset, eager_load=True)))
        digest = _digest(frbench.__version__, frbench.get_asset(f"{backbone}_{loss}_{dataset}"))
    except Exception as error:  # unknown key, no network, wrong digest, full disk, each its own type
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightError(
            f"frbench cannot load {backbone}_{loss}_{dataset} ({reason}): frbench-download --list-models names what "
            "there is and frbench-download fetches it"
        ) from error
    fields = {**card, "family": card.get("family") or backbone.partition("-")[0]}
    return assemble(name, network, digest, inputs, fields)


class FrbenchNetwork(nn.Module):
    """The embedder inside the package's pipeline: RGB grey levels ``[N, 3, 112, 112]`` to raw embeddings ``[N, D]``."""

    def __init__(self, pipeline: nn.Module) -> None:
        super().__init__()
        self.pipeline = pipeline

    def forward(self, images: Tensor) -> Tensor:
        return self.pipeline(images, need_crop=False, tta=(), l2_normalize=False).embeddings


def _digest(version: str, asset: Mapping[str, Any]) -> str:
    """sha256 over the version of the package, whose code is the network, and its files of a model in order."""
    digest = hashlib.sha256(version.encode())
    for _, file in sorted(asset["contents"].items()):
        with (Path(asset["path"]) / file).open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()
