"""``cloakbench serve``: networks of one's own behind real HTTP on this machine, so that they can only be asked."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence

import torch

from cloakbench.bench.config.build import build
from cloakbench.bench.config.compose import resolved
from cloakbench.bench.config.networks import build_attribute_model
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.ranges import SettingError
from cloakbench.bench.core.screen import Screen
from cloakbench.bench.protocols.verification.impostors import calibration_on, cosines_by_far, impostor_thresholds
from cloakbench.bench.recognisers.session import OneModel, compose_one_model, faces_of
from cloakbench.bench.services.keys import has_key, keys_of
from cloakbench.bench.services.local.server import LocalServer, start
from cloakbench.bench.services.local.settings import LocalSettings
from cloakbench.models.attributes import AttributeModel

SERVICE = "local"


def main(words: Sequence[str]) -> int:
    """``cloakbench serve model=NAME [attribute_model=NAME]``; ends with Ctrl-C, which is no failure."""
    one = compose_one_model(words, "serve", "serve")
    config = one.config
    try:
        settings = LocalSettings(**resolved(config.behaviour))
    except SettingError as problem:
        raise ConfigError(f"behaviour.{problem}") from problem
    attribute_model = _attribute_model(one)
    detector = build(resolved(config.detector), "detector") if config.get("detector") else None
    thresholds, why_none = _thresholds(one)
    screen = Screen()
    with start(one.model, attribute_model, config.port, thresholds, settings, detector, local_key()) as server:
        _tell(screen, server, why_none)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            screen.print(f"\nStopped after {server.service.faults.calls} requests.")
    return 0


def local_key(environment: Mapping[str, str] = os.environ) -> str:
    """The key of the local service; empty where the environment has none."""
    return keys_of(SERVICE, environment).key if has_key(SERVICE, environment) else ""


def _attribute_model(one: OneModel) -> AttributeModel | None:
    config = one.config.attribute_model
    if config is None:
        return None
    return build_attribute_model(resolved(config), str(config.name)).to(torch.device(one.config.device))


def _thresholds(one: OneModel) -> tuple[dict[float, float], str]:
    """Calibrated cosines by false accept rate, made once for a network and its faces; and why there are none."""
    if one.no_faces:
        return {}, one.no_faces
    config, dataset = one.config, faces_of(one)
    if "impostor" not in dataset.roles():
        return {}, f"data set {dataset.name} has no impostors"
    faces = dataset.faces("impostor")
    calibration = calibration_on(
        faces,
        one.model,
        one.fingerprint,
        config.fars,
        config.statistics.resamples,
        config.seed,
        config.plan.embed_batch,
    )
    table = impostor_thresholds(one.store, calibration, faces, one.model, torch.device(config.device))
    return cosines_by_far(table), ""


def _tell(screen: Screen, server: LocalServer, why_none: str) -> None:
    service = server.service
    screen.path(f"local service: {server.url} (Ctrl-C stops it)")
    screen.path(f"networks: {service.model_version}")
    found = ", ".join(f"{score:g} at {far:g}" for far, score in service.thresholds.items())
    screen.path(f"thresholds: {found or f'none, {why_none}'}")
    address = f"services.local.line.base_url={server.url} services.local.api_version={service.api_version}"
    screen.path(f"ask it: service@services.local=local {address}")
