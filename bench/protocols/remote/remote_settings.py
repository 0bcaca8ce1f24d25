"""`RemoteSettings`: the block ``remote`` of an experiment: whether, how much, and from when on services are asked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from omegaconf import DictConfig

from cloakbench.bench.core.errors import ConfigError


@dataclass(frozen=True)
class RemoteSettings:
    """How services are asked.

    Attributes:
        live: pictures may leave this machine.
        accept: services whose terms and prices were read.
        max_calls, max_cost: of each service in a run; None for no limit.
        replay: stored answers alone.
        expire: what was answered before that day is asked anew.
        connections: at once, to one service.
    """

    live: bool
    accept: tuple[str, ...]
    max_calls: int | None
    max_cost: float | None
    replay: bool
    expire: date | None
    connections: int

    @classmethod
    def of(cls, config: DictConfig) -> RemoteSettings:
        """The settings of an experiment.

        Raises:
            ConfigError: ``expire`` is no day.
        """
        remote = config.remote
        try:
            expire = None if remote.expire is None else date.fromisoformat(str(remote.expire))
        except ValueError:
            raise ConfigError(f"remote.expire is {remote.expire!r}: it must be a day such as 2026-11-27") from None
        return cls(
            bool(remote.live),
            tuple(remote.accept),
            remote.max_calls,
            remote.max_cost,
            bool(remote.replay),
            expire,
            int(remote.connections),
        )
