"""Preflight: what an experiment needs that is not here (settings, weights, data, packages, room). Fetches nothing.

Weight files are looked for by name and checked by digest; no network is built, no photo opened, no face rendered.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from hydra.utils import get_class, get_method, instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf

from cloakbench.bench.config.asked import asks_about_probes
from cloakbench.bench.config.compose import missing_settings, resolved
from cloakbench.bench.config.networks import is_embedded, is_embedded_attributes, is_embedded_generator
from cloakbench.bench.core.errors import ConfigError, cause_of
from cloakbench.bench.core.redaction import bare_address
from cloakbench.bench.doctor.estimate import disk_bytes
from cloakbench.bench.engine.device.devices import check_devices
from cloakbench.bench.engine.protocol import Protocol
from cloakbench.bench.experiment.parts import asked_protocols
from cloakbench.bench.plan.plan import Cell, build_cells
from cloakbench.methods.context import Need
from cloakbench.models.download import offline_switch
from cloakbench.models.generators import TRAIN
from cloakbench.models.perceptual import ALEXNET_URL
from cloakbench.models.weight_file import WeightError, WeightFile
from cloakbench.models.zoo import read_card, read_weights

_PACKAGE_OF = {
    "cloakbench.datasets.detection.Mtcnn": ("facenet_pytorch", "detect"),
    "cloakbench.models.frbench.load_frbench": ("frbench", "frbench"),
    "cloakbench.models.generation.arc2face.load_arc2face": ("diffusers", "arc2face"),
}
"""What is imported only when it is used: target to package and to the extra that brings it."""


@dataclass(frozen=True)
class Missing:
    """Something that is not here.

    Attributes:
        what: what is missing.
        remedy: the command, setting or page that gets it.
        blocking: the experiment cannot run without it; otherwise its tables have a gap.
        about: ``photos`` or ``weights`` where it is one of these.
    """

    what: str
    remedy: str
    blocking: bool = True
    about: Literal["", "photos", "weights"] = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}" if self.remedy else self.what


@dataclass(frozen=True)
class Presets:
    """Names that ``cloakbench fetch`` knows."""

    models: Sequence[str]
    datasets: Sequence[str]


def missing_parts(
    config: DictConfig, presets: Presets, protocols: Mapping[str, Protocol], cells: Sequence[Cell]
) -> list[Missing]:
    """Everything that an experiment lacks, each once.

    Args:
        config: of the experiment.
        presets: what can be fetched by name.
        protocols: those that are asked (`protocols_of`).
        cells: what is planned (`planned_cells`).
    """
    found = [
        *(Missing(f"{key} is not set", f"{key}=...") for key in missing_settings(config) if key != "dataset.root"),
        *_missing_of_dataset(config.dataset, presets),
        *(part for model in _models(config, cells) for part in _missing_of_model(model, presets)),
        *_missing_of_machine(config, disk_bytes(config, cells)),
        *_missing_of_protocols(config, protocols),
    ]
    return list(dict.fromkeys(found))


def missing_of_method(method: DictConfig) -> list[Missing]:
    """What a method lacks by itself: settings, files it reads, packages."""
    if missing := missing_settings(method):
        return [Missing(f"{key} is not set", f"method.{key}=...") for key in missing]
    plain = resolved(method)
    files = [Path(str(node["path"])) for node in _nodes(plain) if node.get("path") is not None]
    source = {ALEXNET_URL.rpartition("/")[2]: f", from {ALEXNET_URL}"}
    absent = [
        Missing(f"no file {path}", f"put it there{source.get(path.name, '')}") for path in files if not path.is_file()
    ]
    return [*absent, *_missing_packages(plain)]


def missing_of_generator(generator: DictConfig) -> list[Missing]:
    """What a generator lacks by itself: settings, weights, packages."""
    if missing := missing_settings(generator):
        return [Missing(f"{key} is not set", f"generator.{key}=...") for key in missing]
    return [part for part in _missing_of_model(generator, Presets((), ())) if part.blocking]


def _models(config: DictConfig, cells: Sequence[Cell]) -> list[DictConfig]:
    """Every different part of the config that is a trained network, wherever it stands.

    A surrogate or target chosen on its own stands for the list of them, and a generator counts where a method needs it.
    """
    replaced = {many for one, many in (("surrogate", "surrogates"), ("target", "targets")) if config[one] is not None}
    replaced |= {"generator"} if not any(Need.GENERATOR in cell.protector.needs for cell in cells) else set()
    models = [model for key in config if key not in replaced for model in _models_at(config, key)]
    return list({OmegaConf.to_yaml(model): model for model in models}.values())


def _models_at(parent: DictConfig | ListConfig, key: Any) -> Iterator[DictConfig]:
    if OmegaConf.is_missing(parent, key) or OmegaConf.is_interpolation(parent, key):
        return
    node = parent[key]
    embedded = isinstance(node, DictConfig) and _is_embedded(node)
    if isinstance(node, DictConfig) and ("weights" in node or "card" in node or embedded):
        yield node
    elif isinstance(node, DictConfig | ListConfig):
        for below in node if isinstance(node, DictConfig) else range(len(node)):
            yield from _models_at(node, below)


def _is_embedded(model: Mapping[str, Any] | DictConfig) -> bool:
    """Whether its weights come with this project, as two files of one name."""
    return is_embedded(model) or is_embedded_attributes(model) or is_embedded_generator(model)


def planned_cells(config: DictConfig) -> tuple[list[Cell], str]:
    """The cells of an experiment, or why it has none; where nobody asks about the probes, protocols check theirs."""
    try:
        return (build_cells(config) if asks_about_probes(config) else []), ""
    except ConfigError as problem:
        return [], str(problem)


def _missing_of_model(model: DictConfig, presets: Presets) -> Iterator[Missing]:
    if missing_settings(model):
        return  # reported with the settings
    plain = resolved(model)
    yield from _missing_packages(plain)
    if _is_embedded(plain):
        place: dict[str, Any] = {} if plain["folder"] is None else {"folder": Path(plain["folder"])}
        place |= {"train": TRAIN} if is_embedded_generator(plain) else {}
        try:
            read_weights(plain["name"], read_card(plain["name"], **place)["sha256"], **place)
        except WeightError as problem:
            yield Missing(str(problem), "", about="weights")
    for node in _nodes(plain):
        if node["_target_"].endswith(".WeightFile"):
            yield from _missing_of_weight(instantiate(node), plain, presets)


def _missing_of_weight(weights: WeightFile, model: Mapping[str, Any], presets: Presets) -> Iterator[Missing]:
    name, place = str(model.get("name", "a network")), weights.place
    if place.suffix == ".onnx" and find_spec("onnx") is None:
        yield Missing("package onnx", "pip install 'cloakbench[onnx]'")
    if place.exists():
        if weights.sha256 is not None:  # without one, looking would already be the first use
            try:
                weights.resolve()
            except WeightError as problem:
                yield Missing(f"weights of {name}: {problem}", "", about="weights")
        return
    card = model.get("card")
    page = str(card.get("page", "")) if isinstance(card, Mapping) else ""
    switch = offline_switch()
    if not weights.urls or switch:
        why = f" (offline: {switch} is set)" if weights.urls else ""
        source = bare_address(page or next(iter(weights.urls), ""))
        remedy = f"put them at {place}" + (f", from {source}" if source else "")
        yield Missing(f"weights of {name}{why}", remedy, about="weights")
    elif name in presets.models:
        yield Missing(f"weights of {name}", f"cloakbench fetch model={name}", about="weights")
    else:
        remedy = f"the run fetches {bare_address(weights.urls[0])}"
        yield Missing(f"weights of {name}", remedy, blocking=False, about="weights")


def _missing_of_dataset(dataset: DictConfig, presets: Presets) -> Iterator[Missing]:
    layout = _layout(dataset)
    if OmegaConf.is_missing(dataset, "root"):
        folder = getattr(layout, "folder", "<identity>/<photo>")
        yield Missing("dataset.root is not set", f"dataset.root=FOLDER, which holds {folder}", about="photos")
    if dataset.get("aligned") is not True:
        yield from _missing_packages(OmegaConf.to_container(dataset, resolve=False))
    if missing_settings(dataset):
        return
    root = Path(str(dataset.root)).expanduser() if dataset.get("root") is not None else None
    if root is not None and not (root.is_dir() and any(root.iterdir())):
        yield _missing_data(dataset, layout, root, presets)
        return
    try:
        instantiate(dataset)
    except Exception as problem:  # a data set of a user's own may raise anything
        yield Missing(f"data set: {cause_of(problem)}", "")


def _layout(dataset: DictConfig) -> type | None:
    """The class that knows how the data set lies on disk, for its published facts."""
    layout = dataset.get("layout")
    if not isinstance(layout, DictConfig) or "_target_" not in layout:
        return None
    try:
        return get_class(layout._target_)
    except Exception:  # Hydra's own and import errors; building the data set will say it
        return None


def _missing_data(dataset: DictConfig, layout: type | None, root: Path, presets: Presets) -> Missing:
    size = f" (about {layout.disk_gib:g} GiB)" if layout is not None and hasattr(layout, "disk_gib") else ""
    what = f"photos in {root}{size}"
    if getattr(layout, "files", ()) and dataset.name in presets.datasets:
        return Missing(what, f"cloakbench fetch dataset={dataset.name}", about="photos")
    if page := getattr(layout, "page", ""):
        return Missing(what, f"{page}; put {getattr(layout, 'folder', 'the photos')} there", about="photos")
    return Missing(what, "put photos there, or set dataset.root", about="photos")


def _missing_of_machine(config: DictConfig, expected: int | None) -> Iterator[Missing]:
    import torch

    if str(config.runtime.device).startswith("cuda") and not torch.cuda.is_available():
        yield Missing("a CUDA device", "runtime=cpu")
    else:
        try:
            check_devices(config)
        except ConfigError as problem:
            yield Missing(str(problem), "")
    free = free_bytes(config)
    if expected is not None and expected > free:
        yield Missing(
            f"disk: {expected / 2**30:.1f} GiB, and {free / 2**30:.1f} are free", "paths.results=FOLDER elsewhere"
        )


def free_bytes(config: DictConfig) -> int:
    """Free space where the results go."""
    folder = Path(config.paths.results).absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def protocols_of(config: DictConfig) -> dict[str, Protocol]:
    """The protocols that are asked; none while their settings are not complete, which is told by itself.

    Raises:
        ConfigError: one cannot be built.
    """
    return {} if missing_settings(config.protocols) else asked_protocols(config)


def _missing_of_protocols(config: DictConfig, protocols: Mapping[str, Protocol]) -> Iterator[Missing]:
    for protocol in protocols.values():
        yield from (Missing(what, remedy, blocking=False) for what, remedy in protocol.missing(config))
    for value in config.metrics.values():
        if not missing_settings(value) and (metric := instantiate(value)).missing:
            yield Missing(metric.described.title, metric.remedy or metric.missing, blocking=False)


def _missing_packages(config: Any) -> Iterator[Missing]:
    for node in _nodes(config):
        target = str(node["_target_"])
        package, extra = _PACKAGE_OF.get(target, ("", ""))
        if package and find_spec(package) is None:
            yield Missing(f"package {package}", f"pip install 'cloakbench[{extra}]'")
        elif not package and target != "???":
            try:
                get_method(target)
            except Exception as problem:
                yield Missing(f"{target} cannot be imported: {cause_of(problem)}", "")


def _nodes(config: Any) -> Iterator[dict[str, Any]]:
    """Every part of a config that is built from a ``_target_``, the outermost first."""
    if isinstance(config, dict):
        if "_target_" in config:
            yield config
        for value in config.values():
            yield from _nodes(value)
    elif isinstance(config, list):
        for value in config:
            yield from _nodes(value)
