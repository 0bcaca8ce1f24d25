"""Consent: what is said before pictures of people leave this machine, and the words that a person types for it."""

from __future__ import annotations

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
        calls: requests at least, by operation; retries and repetitions come on top.
    """

    card: ServiceCard
    photos: str
    calls: Mapping[str, int]

    def lines(self) -> tuple[str, ...]:
        """What goes where, how many calls, what they cost, and under which terms."""
        card = self.card
        wanted = ", ".join(f"{count} {operation}" for operation, count in self.calls.items() if count)
        unpriced = sorted(one for one, count in self.calls.items() if count and one not in card.price_per_call)
        cost = sum(card.price_per_call.get(operation, 0.0) * count for operation, count in self.calls.items())
        price = f"{cost:.2f} {card.currency}".strip() + " at the configured prices"
        if unpriced:
            price = f"not known: set line.price_per_call of {', '.join(unpriced)}"
        seconds = sum(self.calls.values()) / card.calls_per_second
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
