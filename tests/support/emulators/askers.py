"""A whole asker at an emulator, as a run makes one: journal, limits, rate and galleries in one folder."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from cloakbench.bench.services.asking import Asker
from cloakbench.bench.services.call_rate import CallRate
from cloakbench.bench.services.galleries import Galleries, GalleryPlan
from cloakbench.bench.services.journal import Journal
from cloakbench.bench.services.spending import Spending
from cloakbench.models.services import ServiceAnswer
from emulators.fleet import connected, face, service_of
from emulators.server import Emulator

PLAN = GalleryPlan({f"photo {number}": face(number) for number in range(6)})


def asker_at(
    emulator: Emulator,
    folder: Path,
    name: str = "facepp",
    *,
    run: str = "run",
    max_calls: int | None = None,
    max_cost: float | None = None,
    calls_per_second: float | None = None,
    before: Callable[[str], None] = lambda action: None,
    permitted: list[float] | None = None,
    replay: bool = False,
    expire: date | None = None,
    keys: Any = None,
    **settings: Any,
) -> Asker:
    """An asker whose state is in ``folder``.

    Args:
        emulator: running.
        folder: of journal, rate and notes of galleries.
        name: of the vendor.
        run: names the galleries.
        max_calls, max_cost, replay, expire: as in an experiment.
        calls_per_second: rate; None for as fast as it goes.
        before: is called with the action before each request.
        permitted: takes the times at which the rate let requests go.
        keys: the emulator's, unless they are given.
        settings: of the service.
    """
    prices = settings.get("price_per_call", {})
    spending = Spending(name, prices, max_calls, max_cost)
    rate = None if calls_per_second is None else CallRate(folder / "rate", calls_per_second)

    def permit(action: str) -> None:
        before(action)
        spending.permit(action)
        if rate is not None:
            at = rate.wait()
            if permitted is not None:
                permitted.append(at)

    changes = {"permit": permit} | ({} if keys is None else {"keys": keys})
    service = service_of(name, emulator, connected(emulator, **changes), **settings)
    galleries = Galleries(service, folder / "galleries" / name, run)
    return Asker(service, Journal(folder / "journal"), spending, galleries, replay=replay, expire=expire)


def everything(asker: Asker, people: int = 4) -> list[ServiceAnswer]:
    """A small run: comparisons, searches and, where there are any, attributes."""
    answers = [asker.compare(face(person), face(person, 1)) for person in range(people)]
    answers += [asker.search(PLAN, face(person, 1), 3) for person in range(people)]
    return answers + [asker.attributes(face(person, 1)) for person in range(people)]


def told(answers: list[ServiceAnswer]) -> list[tuple[Any, ...]]:
    """What tables are made of: nothing that depends on when and how often somebody asked."""
    return [(one.operation, one.status, one.score, one.matches, dict(one.attributes)) for one in answers]
