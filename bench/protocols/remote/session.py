"""`Session`: a service that is open for the questions of a run, and closed behind them in any case."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cloakbench.bench.core.files.file_lock import exclusive
from cloakbench.bench.protocols.remote.remote_settings import RemoteSettings
from cloakbench.bench.protocols.remote.spent import SpentOnService
from cloakbench.bench.services.asking import Asker
from cloakbench.bench.services.building import build_service
from cloakbench.bench.services.call_rate import CallRate
from cloakbench.bench.services.galleries import Galleries
from cloakbench.bench.services.keys import keys_for
from cloakbench.bench.services.places import Places
from cloakbench.bench.services.spending import Spending
from cloakbench.models.service_keys import ServiceKeys
from cloakbench.models.services import Connection, RemoteService, ServiceCard


@dataclass(frozen=True)
class Session:
    """A service that may be asked.

    Attributes:
        service: it.
        asker: asks it.
    """

    service: RemoteService
    asker: Asker


def card_of(config: Mapping[str, Any], key: str) -> ServiceCard:
    """The card of a service, which is built without keys and asked nothing.

    Raises:
        ConfigError: it cannot be built; one line.
    """
    service = build_service(config, key, Connection(ServiceKeys("")))
    service.close()
    return service.card


def keys_in_run(
    card: ServiceCard, settings: RemoteSettings, environment: Mapping[str, str] = os.environ
) -> ServiceKeys:
    """The keys of a service, of which a replay needs none.

    Raises:
        ConfigError: there are none.
    """
    return ServiceKeys("") if settings.replay else keys_for(card, environment)


@contextmanager
def session(
    config: Mapping[str, Any],
    key: str,
    settings: RemoteSettings,
    places: Places,
    run: str,
    spent: SpentOnService,
) -> Iterator[Session]:
    """Open a service; of several runs on a store one asks it at a time.

    Args:
        config: of the service.
        key: under which the experiment knows it.
        settings: of the run.
        places: of the store.
        run: names the run for its galleries, on this machine and in this store.
        spent: takes what is counted, of a session before that was killed, too.

    Raises:
        ConfigError: it cannot be built, or there are no keys.
    """
    card = card_of(config, key)
    keys = keys_in_run(card, settings)
    limits = settings.max_calls, settings.max_cost
    spending = Spending(card.name, card.price_per_call, *limits, note=spent.note)
    rate = CallRate(places.rate(card.name, keys), card.calls_per_second)

    def permit(action: str) -> None:
        spending.permit(action)
        rate.wait()

    service = build_service(config, key, Connection(keys, permit))
    galleries = Galleries(service, places.galleries(card.name), f"{platform.node()} {places.root.resolve()} {run}")
    asker = Asker(service, places.journal, spending, galleries, replay=settings.replay, expire=settings.expire)
    with exclusive(places.lock(card.name), f"asking {card.name}"):
        spent.settle(card)
        try:
            yield Session(service, asker)
        finally:
            asker.close()
            spent.settle(card)
