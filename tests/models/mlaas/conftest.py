"""A running emulator of each vendor, and the vendor's service that talks to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from emulators.fleet import EMULATORS, service_of
from emulators.server import Emulator

from cloakbench.models.services import RemoteService


@dataclass
class Pair:
    """A vendor's service and the emulator that it talks to."""

    name: str
    service: RemoteService
    emulator: Any

    def again(self, **settings: Any) -> RemoteService:
        """Another service with other settings, or another connection, at the same emulator."""
        return service_of(self.name, self.emulator, **settings)


@pytest.fixture(params=list(EMULATORS))
def vendor(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Each vendor in turn."""
    yield from _running(request.param)


@pytest.fixture
def start() -> Iterator[Callable[[str], Pair]]:
    """Start one vendor by name."""
    open_ones: list[Iterator[Pair]] = []

    def begin(name: str) -> Pair:
        open_ones.append(_running(name))
        return next(open_ones[-1])

    yield begin
    for one in open_ones:
        next(one, None)


def _running(name: str) -> Iterator[Pair]:
    emulator: Emulator = EMULATORS[name]()
    with emulator.running():
        service = service_of(name, emulator)
        yield Pair(name, service, emulator)
        service.close()
