"""``cloakbench fetch``: get a data set, or the weights of a model or image metric, or say where they are to be had.

Only what a publisher lets everybody download is fetched. For all else the page, the licence and the folder to fill are
printed, and the exit status is 1 until the data is there.
"""

from __future__ import annotations

import os.path
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from cloakbench.bench.config.build import build
from cloakbench.bench.config.compose import (
    WITHOUT_EXPERIMENT,
    compose_config,
    missing_settings,
    resolved,
    split_config_dirs,
)
from cloakbench.bench.core.screen import Screen
from cloakbench.bench.protocols.quality.network_metric import NetworkMetric
from cloakbench.datasets.archives import unfinished, unpack
from cloakbench.datasets.listing import Layout, Listing, RemoteFile
from cloakbench.models.download import DownloadError, download, file_sha256
from cloakbench.models.weight_file import WeightError

_KINDS = ("dataset", "model", "metric")
_ROOM = 2
"""An archive may unpack to so many times the disk space that its layout states."""


def main(words: Sequence[str]) -> int:
    """``cloakbench fetch dataset=NAME``, ``model=NAME`` or ``metric=NAME``, with settings such as ``dataset.root=DIR``.

    Returns:
        0 when the data or the weights are there, 1 when they are to be got by hand.

    Raises:
        ValueError: the words do not name one thing to fetch, an archive is refused, or weights have another digest.
        OSError: nothing that has the file could be reached.
    """
    config_dirs, overrides = split_config_dirs(words)
    kinds = [kind for kind in _KINDS if any(word.startswith(f"{kind}=") for word in overrides)]
    if len(kinds) != 1:
        raise ValueError("say what to fetch: cloakbench fetch dataset=NAME, model=NAME or metric=NAME")
    if kinds == ["model"]:
        # a model stands alone here, in the place of an experiment's one surrogate
        overrides = [_as_surrogate(word) for word in overrides]
        return _fetch_model(compose_config([WITHOUT_EXPERIMENT, *overrides], config_dirs=config_dirs).surrogate)
    if kinds == ["metric"]:
        return _fetch_metric(
            compose_config([WITHOUT_EXPERIMENT, *as_composed(overrides)], config_dirs=config_dirs).metric
        )
    return _fetch_dataset(compose_config([WITHOUT_EXPERIMENT, *overrides], config_dirs=config_dirs).dataset)


def as_composed(words: Sequence[str]) -> list[str]:
    """Words as a config takes them: an image metric stands alone here, and not in a protocol."""
    return [f"+image_metric@{word}" if word.startswith("metric=") else word for word in words]


def _fetch_dataset(config: DictConfig) -> int:
    if OmegaConf.select(config, "layout") is None:
        raise ValueError("there is nothing to fetch: this data set is made here, or it is a folder of your own")
    if missing := missing_settings(config):
        raise ValueError(f"set {', '.join(f'dataset.{key}' for key in missing)}")
    layout: Layout = instantiate(config.layout)(Path(str(config.root)).expanduser())
    listing, problem = _listed(layout)
    for file in layout.files:
        if file.unpack and (listing is None or unfinished(layout.root / file.name, layout.root)):
            _get(layout, file)
            unpack(layout.root / file.name, layout.root, int(_ROOM * layout.disk_gib * 2**30))
            (layout.root / file.name).unlink()
            listing = None
        elif not file.unpack:
            _get(layout, file)
    if listing is None and layout.files:
        listing, problem = _listed(layout)
    _print(_there(layout, listing) if listing is not None else _by_hand(layout, problem))
    return 0 if listing is not None else 1


def _listed(layout: Layout) -> tuple[Listing | None, str]:
    """What is there already, or else what is wrong with it."""
    try:
        return layout.listing(), ""
    except ValueError as problem:
        return None, str(problem)


def _get(layout: Layout, file: RemoteFile) -> None:
    """Fetches a file that is not there from the first address that has it; one that is there has its digest checked.

    Raises:
        ValueError: the file that is there is another one, or no plain file.
        DownloadError: no address has it.
    """
    target = layout.root / file.name
    if os.path.lexists(target):
        _check(layout, file, target)
    else:
        try:
            download(file.urls, target, file.sha256)
        except DownloadError as error:
            raise DownloadError(f"{error}; get {file.name} from {layout.page} and put it at {target}") from error


def _check(layout: Layout, file: RemoteFile, target: Path) -> None:
    """A file that somebody put in place has the published digest, where there is one."""
    try:
        digest = file_sha256(target)
    except OSError as error:
        raise ValueError(f"{target}: {error.strerror}: remove it, and run this again to fetch it") from error
    if file.sha256 not in (None, digest):
        raise ValueError(
            f"{target} has sha256 {digest}, and the publisher's {file.name} has {file.sha256}: remove it, and run this "
            f"again to fetch it, or get it from {layout.page}"
        )


def _there(layout: Layout, listing: Listing) -> list[str]:
    lines = [f"{layout.name}: {len(listing)} photos of {len(set(listing.identity))} people in {layout.root}"]
    if listing.rejected:
        first = listing.rejected[0]
        lines.append(
            f"{len(listing.rejected)} more cannot be used; the first is {first.image_id}: {first.status}, {first.note}"
        )
    return lines


def _by_hand(layout: Layout, problem: str) -> list[str]:
    return [
        problem,
        "",
        "What is needed, and where it is to be had:",
        f"  page     {layout.page}",
        f"  licence  {layout.licence}",
        f"  put      {layout.folder}",
        f"  under    {layout.root}   (about {layout.disk_gib:g} GiB; set dataset.root or CLOAKBENCH_DATA to move it)",
    ]


def _as_surrogate(word: str) -> str:
    if word.startswith("model="):
        return f"model@surrogate={word.removeprefix('model=')}"
    return f"surrogate.{word.removeprefix('model.')}" if word.startswith("model.") else word


def _fetch_model(config: DictConfig) -> int:
    if missing := missing_settings(config):
        raise ValueError(f"set {', '.join(f'model.{key}' for key in missing)}")
    files = list(_weight_files(resolved(config)))
    page = str(OmegaConf.select(config, "card.page") or "")
    for node in files:
        path, sha256 = instantiate(node).resolve(page)
        _print([f"{config.name}: {path}, sha256 {sha256}"])
    if not files:
        _print(["there is nothing to fetch: the weights of this model come with the package"])
    return 0


def _weight_files(node: Any) -> Iterator[dict[str, Any]]:
    """The parts of a model's config that name a file of weights."""
    if isinstance(node, dict):
        if str(node.get("_target_", "")).endswith(".WeightFile"):
            yield node
        else:
            for part in node.values():
                yield from _weight_files(part)


def _fetch_metric(config: DictConfig) -> int:
    if missing := missing_settings(config):
        raise ValueError(f"set {', '.join(f'metric.{key}' for key in missing)}")
    metric = build(resolved(config), "metric")
    if not isinstance(metric, NetworkMetric):
        _print(["there is nothing to fetch: this image metric reads no file of others"])
        return 0
    if not metric.weights:
        raise ValueError("set metric.path=FILE, where it is to lie")
    name, by_hand = metric.described.name, []
    unpublished = [file for file in metric.weights.values() if file.sha256 is None]
    for file in metric.weights.values():
        try:
            path, sha256 = file.resolve(metric.page, remember=False)
        except WeightError as problem:
            if file.urls or file.place.exists():
                raise
            by_hand.append(str(problem))
        else:
            _print([f"{name}: {path}, sha256 {sha256}" + ", which nobody publishes" * (file in unpublished)])
    if unpublished and not by_hand:
        metric.load(torch.device("cpu"))  # what can be read is kept to, and nothing else
        _print([f"{name}: files whose digest nobody publishes are kept to as they are (weights.lock.json beside them)"])
    if by_hand:
        asked = [f"  page     {metric.page}", f"  licence  {metric.licence}", f"  how      {metric.by_hand}"]
        _print([*by_hand, "", "What is needed, and where it is to be had:", *asked])
    return 1 if by_hand else 0


def _print(lines: Sequence[str]) -> None:
    console = Screen()
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
