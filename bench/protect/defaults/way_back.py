"""`through_the_file`: methods that look through random views look through the way to the saved photo first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig

from cloakbench.bench.config.compose import resolved


def through_the_file(method: dict[str, Any], way_back: DictConfig | None) -> dict[str, Any]:
    """A method's config whose views, where it has some, show photos as they come back from the saved file.

    Args:
        method: its resolved config.
        way_back: the config of `cloakbench.methods.parts.transfer.way_back.WayBack`; None leaves the method as it is.
    """
    transfer = method.get("transfer")
    if way_back is None or not isinstance(transfer, Mapping) or transfer.get("views") is None:
        return method
    return {**method, "transfer": {**transfer, "views": {**resolved(way_back), "views": transfer["views"]}}}
