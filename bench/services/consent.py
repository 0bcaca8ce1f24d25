"""Consent: what is said before pictures of people leave this machine, and the words that a person types for it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from cloakbench.bench.core.errors import ConfigError
from cloakbench.models.services import ServiceCard


@dataclass(frozen=True)
class Intention:
    """What a run is going to do with a service.

    Attributes:
        card: of the service.
        photos: how many, and of which data set, in words: ``400 photos of lfw (clean and protected)``.
        questions: by operation; what is enrolled counts by pictures. Making and deleting galleries, retries and
            repetitions come on top.
    """

    card: ServiceCard
    photos: str
    questions: Mapping[str, int]

    @property
    def calls(self) -> dict[str, int]:
        """Requests at least, by operation."""
        each = self.card.requests_each
        return {one: math.ceil(round(count * each.get(one, 1), 6)) for one, count in self.questions.items() if count}

    @property
    def unpriced(self) -> list[str]:
        """Operations without a price."""
        return sorted(one for one in self.calls if one not in self.card.price_per_call)

    def lines(self) -> tuple[str, ...]:
        """What goes where, how many calls, what they cost, and under which terms."""
        card = self.card
        calls = self.calls
        wanted = ", ".join(f"{count} {operation}" for operation, count in calls.items())
        cost = sum(card.price_per_call.get(operation, 0.0) * count for operation, count in calls.items())
        price = f"{cost:.2f} {card.currency}".strip() + " at the configured prices"
        if self.unpriced:
            price = f"not known: set line.price_per_call of {', '.join(self.unpriced)}"
        seconds = sum(calls.values()) / card.calls_per_second
        return (
            f"{card.title}: {self.photos} go to {card.host}, API {card.api_version}",
            f"  calls: {wanted or 'none'}; at {card.calls_per_second:g} a second at least {seconds:.0f} s",
            f"  cost: {price}",
            f"  terms: {card.terms} (facts of {card.read_on})",
        )


def require_consent(intention: Intention, live: bool, accepted: Collection[str]) -> None:
    """Refuse to ask a service of which nobody has said twice that it may be asked.

    Raises:
        ConfigError: ``remote.live=true`` or the service in ``remote.accept`` is missing; what would be done stands in
            `Intention.lines`.
    """
    name = intention.card.name
    if not live:
        raise ConfigError(f"service {name}: pictures leave this machine with remote.live=true only")
    if name not in accepted:
        raise ConfigError(
            f"service {name}: to send {intention.photos} to {intention.card.host} under the terms of "
            f"{intention.card.terms}, say remote.accept=[{name}]"
        )
