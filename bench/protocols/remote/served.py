"""`Served`: networks that a run offers itself as the local service, so that a black box is at hand without anybody's
account. They are asked over HTTP as all services are, and play no other part in the experiment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from cloakbench.bench.config.networks import build_attribute_model, build_recogniser, fingerprint
from cloakbench.bench.config.node_keys import node_settings
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.hashing import Inputs
from cloakbench.bench.plan.planning import Planning
from cloakbench.bench.protocols.verification.impostors import calibration_on, cosines_by_far, impostor_thresholds
from cloakbench.bench.services.local.server import FaceService, running
from cloakbench.models.attributes import AttributeModel
from cloakbench.models.base import Recogniser
from cloakbench.models.services import ATTRIBUTES

LOCAL = "cloakbench.models.mlaas.local.LocalService"


class Served:
    """The networks of the local service.

    Args:
        model: config of what compares faces.
        attribute_model: config of what tells attributes; None where they are not offered.

    Raises:
        ConfigError: one cannot be built; one line.
    """

    def __init__(self, model: Mapping[str, Any], attribute_model: Mapping[str, Any] | None = None) -> None:
        self._config, self._attributes_config = model, attribute_model
        try:
            self.model: Recogniser = build_recogniser(model, "served")
            self.attribute_model: AttributeModel | None = (
                None if attribute_model is None else build_attribute_model(attribute_model, "served")
            )
        except ValueError as problem:
            raise ConfigError(str(problem)) from problem
        self.fingerprint = fingerprint(model, self.model)

    def inputs(self, planning: Planning) -> Inputs:
        """What decides its answers."""
        told = self.attribute_model
        return {
            "model": self.fingerprint,
            "attribute_model": None
            if told is None
            else [node_settings(dict(self._attributes_config or {})), told.card.weights_sha256],
            "impostors": planning.keys.get("impostor", ""),
        }

    def networks(self, planning: Planning) -> frozenset[str]:
        """Keys of the experiment's networks with the very weights of the model: who attacks them is white-box."""
        return frozenset(key for key, one in planning.fingerprints.items() if one == self.fingerprint)

    @property
    def not_offered(self) -> Mapping[str, str]:
        """Operations for which there is no network, and which setting names one."""
        if self.attribute_model is not None:
            return {}
        return {ATTRIBUTES: "attribute_model@protocols.remote.served.attribute_model=NAME serves a network for them"}

    @contextmanager
    def offered(self, planning: Planning, fars: Sequence[float], *, replay: bool) -> Iterator[dict[str, Any]]:
        """Offer them while the context lasts; yields the settings of a service that asks them.

        Args:
            planning: with the impostors that thresholds are calibrated on.
            fars: false accept rates of the thresholds.
            replay: nobody listens; only what is served has its name.
        """
        service = FaceService(self.model, self.attribute_model, self._thresholds(planning, fars))
        if replay:
            yield {"api_version": service.api_version, "line": {}}
            return
        with running(service) as server:
            yield {"api_version": service.api_version, "line": {"base_url": server.url}}

    def _thresholds(self, planning: Planning, fars: Sequence[float]) -> dict[float, float]:
        """Calibrated cosines; none without impostors."""
        faces, config = planning.faces.get("impostor"), planning.config
        if faces is None or not len(faces):
            return {}
        calibration = calibration_on(
            faces, self.model, self.fingerprint, fars, config.statistics.resamples, config.seed, config.plan.embed_batch
        )
        device = torch.device("cpu")
        return cosines_by_far(impostor_thresholds(planning.store, calibration, faces, self.model, device))
