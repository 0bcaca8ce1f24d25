"""The composed config of ``cloakbench protect``, made concrete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import PIL
import torch
from omegaconf import DictConfig

from cloakbench.bench.config.build import build
from cloakbench.bench.config.checks.setting_checks import check_values
from cloakbench.bench.config.compose import missing_settings, resolved
from cloakbench.bench.config.networks import (
    build_generator,
    build_recogniser,
    fingerprint,
    generator_fingerprint,
    is_embedded,
)
from cloakbench.bench.config.node_keys import node_code, node_settings
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.machine import checked_device
from cloakbench.bench.plan.plan import check_views, make_protector
from cloakbench.bench.protect.defaults.way_back import through_the_file
from cloakbench.bench.protect.faces import FaceFinder
from cloakbench.bench.protect.keys.checks import check_keys
from cloakbench.bench.store.store import Store
from cloakbench.datasets.detection import read_landmarks
from cloakbench.datasets.encoding import Format
from cloakbench.datasets.metadata import Policy
from cloakbench.methods.base import Protector, without_title
from cloakbench.methods.context import Need
from cloakbench.models.base import Recogniser
from cloakbench.models.generators import Generator

_FILES: Mapping[str, str] = {"same": "of the photo's own type", "png": "PNG", "jpeg": "JPEG of quality 95"}
OF_REFERENCES = frozenset({Need.REFERENCES, Need.REFERENCE_LANDMARKS, Need.GENERATOR})
"""Needs that photos of the person meet, by themselves or through what is made of them."""
_PEOPLE = OF_REFERENCES | {Need.AIM}


@dataclass(frozen=True)
class Settings:
    """Everything a run needs.

    Attributes:
        source: folder of photos, or one photo.
        output: where copies and report go.
        references: other photos of the person, or None.
        auxiliary: photos of other people in identity folders, or None.
        world: config of the data set whose auxiliary faces serve embedded surrogates.
        impostors: config of the data set whose impostors calibrate thresholds of embedded models.
        method: name of the method.
        method_config: its resolved config.
        protector: the method itself.
        surrogates, judges: key to model.
        generator: makes other pictures of the person; None where the method needs none.
        generator_digest: its fingerprint; empty for none.
        embedded: keys of the models that were trained on rendered faces.
        fingerprints: key to content digest, for all models.
        keys: folder for what gives photos back; None where nothing does.
        store: where thresholds are kept.
        runs: where finished experiments lie, which say what to expect.
        finder: opens the person's photos and finds their faces.
        way_back: the views of the method lead through the saved file.
        soften: the method sees its surrogates through `cloakbench.bench.protect.blurred.BlurredRecogniser`, and if it
            hides faces from eyes as they are, too; not where its views lead through the file themselves.
        format, metadata, max_references, overwrite, force: see conf/protect.yaml.
        seed: names all random numbers; where keys are written and none was given, the owner's secret.
        seed_given: whether the user chose it.
        device: where to compute.
    """

    source: Path
    output: Path
    references: Path | None
    auxiliary: Path | None
    world: Mapping[str, Any]
    impostors: Mapping[str, Any]
    method: str
    method_config: Mapping[str, Any]
    protector: Protector
    surrogates: Mapping[str, Recogniser]
    judges: Mapping[str, Recogniser]
    generator: Generator | None
    generator_digest: str
    embedded: tuple[str, ...]
    fingerprints: Mapping[str, str]
    keys: Path | None
    store: Store
    runs: Path
    finder: FaceFinder
    way_back: bool
    soften: bool
    format: Format
    metadata: Policy
    max_references: int
    overwrite: bool
    force: bool
    seed: int
    seed_given: bool
    device: torch.device

    @property
    def protects_real_faces(self) -> bool:
        """Whether the change can hide a real face: one of the surrogates knows real faces, or it needs none."""
        return not self.surrogates or not set(self.surrogates) <= set(self.embedded)

    @property
    def hides(self) -> bool:
        """Whether faces are hidden from eyes, so that no detail of them may stay, and photos may come back."""
        return self.protector.recoverable or self.protector.goal == "hide from humans"

    @property
    def models(self) -> dict[str, Recogniser]:
        """Surrogates and judges; a model that is both is listed once."""
        return {**self.surrogates, **self.judges}

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """What the bytes of every copy depend on, besides the photo and the other people's faces."""
        return {
            "method": node_settings(self.method_config),
            "code": node_code(
                self.method_config, base=(type(self.protector).__module__, "cloakbench.bench.protect.run")
            ),
            "surrogates": [self.fingerprints[key] for key in self.surrogates],
            "seed": self.seed,
            "soften": self.soften,
            "faces": self.finder.which,
            "format": self.format,
            "metadata": self.metadata,
            "max_megapixels": self.finder.max_megapixels,
            "min_crop_px": self.finder.min_crop_px,
            "device": self.device.type,
            "pillow": PIL.__version__,
            **({"generator": self.generator_digest} if self.generator_digest else {}),
        }


def read_settings(config: DictConfig) -> Settings:
    """Build models, method and detector.

    Raises:
        ValueError: a setting is missing, out of range or contradicts another one; one line with the remedy.
    """
    if config.method is None:
        raise ConfigError("say how to protect: method=NAME (see cloakbench list methods)")
    if missing := missing_settings(config):
        raise ConfigError(f"set {', '.join(f'{key}=...' for key in missing)}")
    if config.output is None:
        raise ConfigError("output is null: set output=FOLDER, where the copies go")
    check_values(config)
    device = checked_device(config.device, "device")
    plain = without_title(resolved(config.method))
    method_config = through_the_file(plain, config.way_back)
    protector = make_protector(method_config, config.method_key, "method")
    surrogates = _models(config.surrogate, config.surrogates) if Need.SURROGATES in protector.needs else {}
    judges = _models(config.target, config.targets)
    configs = {**surrogates, **judges}
    built = {key: build_recogniser(model, key).to(device) for key, model in configs.items()}
    generator, generator_digest = _generator(config, protector, device)
    settings = Settings(
        source=_path(config.input),
        output=_path(config.output),
        references=_path(config.references) if config.references else None,
        auxiliary=_path(config.auxiliary) if config.auxiliary else None,
        world=resolved(config.world),
        impostors=resolved(config.impostors),
        method=config.method_key,
        method_config=method_config,
        protector=protector,
        surrogates={key: built[key] for key in surrogates},
        judges={key: built[key] for key in judges},
        generator=generator,
        generator_digest=generator_digest,
        embedded=tuple(key for key, model in configs.items() if is_embedded(model)),
        fingerprints={key: fingerprint(configs[key], model) for key, model in built.items()},
        keys=_path(config["keys"]) if config["keys"] else None,
        store=Store(_path(config.paths.store)),
        runs=_path(config.paths.results) / "runs",
        finder=_finder(config),
        way_back=method_config != plain,
        soften=config.soften_surrogates and method_config == plain,
        format=config.format,
        metadata=config.metadata,
        max_references=config.max_references,
        overwrite=config.overwrite,
        force=config.force,
        seed=config.seed or 0,
        seed_given=config.seed is not None,
        device=device,
    )
    _check(settings)
    return settings


def _generator(config: DictConfig, protector: Protector, device: torch.device) -> tuple[Generator | None, str]:
    """The generator with its fingerprint; none where the method needs none."""
    if Need.GENERATOR not in protector.needs:
        return None, ""
    check_views(protector, config.method_key, chosen=config.generator is not None)
    block = resolved(config.generator)
    built = build_generator(block)
    return built.to(device), generator_fingerprint(block, built)


def _finder(config: DictConfig) -> FaceFinder:
    """Raises `cloakbench.datasets.photos.DatasetError` for a bad landmarks file."""
    source, points = _path(config.input), {}
    if config.landmarks_file:
        points = read_landmarks(_path(config.landmarks_file), source.parent if source.is_file() else source)
    detector = build(resolved(config.detector), "detector")
    return FaceFinder(detector, points, config.faces, config.max_megapixels, config.min_crop_px)


def _check(settings: Settings) -> None:
    protector, name = settings.protector, settings.method
    if Need.SURROGATES in protector.needs and not settings.surrogates:
        raise ConfigError(f"{name} needs a recogniser to work against: name one with model@surrogate=NAME")
    _check_use(settings)
    check_keys(protector, name, settings.keys, {"output": settings.output, "input": settings.source})
    if protector.scope == "dataset":
        raise ConfigError(f"{name} protects a training set as a whole, not the photos of one person: choose another")
    if settings.finder.which == "all" and (protector.scope != "image" or protector.needs & _PEOPLE):
        raise ConfigError(
            f"faces=all needs a method that knows nothing of the person, and {name} makes its changes for one: set "
            "faces=main"
        )
    if (
        needs_others(protector)
        and settings.auxiliary is None
        and not set(settings.surrogates) <= set(settings.embedded)
    ):
        raise ConfigError(
            f"{name} needs photos of other people: name a folder that holds one folder of photos per person with "
            "auxiliary=FOLDER"
        )


def _check_use(settings: Settings) -> None:
    """Refuse what would give copies that look protected and are not."""
    budget, name = settings.protector.budget, settings.method
    if settings.force:
        return
    if budget is not None and budget.size_255 == 0:
        raise ConfigError(f"{name} has a budget of 0 and changes nothing: set method.epsilon_255=8, or force=true")
    if settings.protector.paper == "control":
        raise ConfigError(
            f"{name} protects nobody, it is there for comparison: choose another method (cloakbench list methods), or "
            "set force=true to write its copies all the same"
        )
    if not settings.protects_real_faces:
        raise ConfigError(
            f"{', '.join(settings.surrogates)} learnt from rendered faces, so changes made against it hide no real "
            "face: choose a recogniser of real faces with model@surrogate=NAME (cloakbench list models), or set "
            "force=true to write the copies all the same"
        )


def needs_others(protector: Protector) -> bool:
    """Whether a method asks for faces of other people."""
    return bool(protector.needs & {Need.AUXILIARY, Need.AIM})


def _models(one: DictConfig | None, more: DictConfig) -> dict[str, dict[str, Any]]:
    """Key to resolved config; the model chosen alone is called by its own name."""
    configs = [resolved(one)] if one is not None else []
    return {str(config.get("name", "model")): config for config in configs} | {
        str(key): resolved(model) for key, model in more.items()
    }


def _path(text: str) -> Path:
    return Path(text).expanduser()


def settings_in_words(settings: Settings) -> Sequence[str]:
    """Lines for the report: what was asked for."""
    budget = settings.protector.budget
    size = f", {budget.norm} budget {budget.size_255:g}/255 on the aligned face" if budget else ""
    surrogates = f" against {', '.join(settings.surrogates)}" if settings.surrogates else ""
    if settings.way_back:
        surrogates += ", through random views of the way through the photo"
    if settings.surrogates and settings.soften:
        surrogates += f", {'sharp and ' if settings.hides else ''}softened to outlast the way through the photo"
    seed = "given" if settings.seed_given else "secret, kept with the keys"  # a copy's report may be published
    return (
        f"Method: {settings.method}{size}{surrogates}, seed {settings.seed if settings.keys is None else seed}.",
        f"Faces: {'the main face' if settings.finder.which == 'main' else 'every face'} of each photo.",
        f"Files: {_FILES[settings.format]}, metadata policy {settings.metadata}.",
    )
