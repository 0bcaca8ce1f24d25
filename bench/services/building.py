"""Building a service from its config, for somebody with keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hydra.utils import instantiate

from cloakbench.bench.core.errors import ConfigError, refusal_of
from cloakbench.models.services import Connection, RemoteService


def build_service(config: Mapping[str, Any], key: str, connection: Connection) -> RemoteService:
    """Build one service.

    Args:
        config: as `conf/service/NAME.yaml` gives it.
        key: under which the experiment knows it.
        connection: keys, permits and clocks.

    Raises:
        ConfigError: a setting is wrong; one line.
    """
    where = f"services.{key}"
    try:
        # The connection is no setting: Hydra would copy it into a config, keys and all.
        make = instantiate({**config, "_partial_": True}, _convert_="all")
        service = make(connection=connection)
    except Exception as problem:
        raise ConfigError(refusal_of(problem, where)) from problem
    if not isinstance(service, RemoteService):
        raise ConfigError(f"{where}: {config['_target_']} built a {type(service).__name__}, not a service")
    return service
