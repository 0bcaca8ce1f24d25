"""`ServiceLine`: where a service is reached, at what pace, how patiently, and at whose price and terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from cloakbench.bench.core.ranges import at_least, positive, whole
from cloakbench.models.services import ServiceCard


class ServiceLine:
    """The settings that all services share.

    Args:
        base_url: scheme and host, ``https`` unless it is this machine.
        calls_per_second: what the key may ask.
        terms: page with the vendor's terms.
        attempts: tries of one request in all.
        timeout_seconds: silence after which a connection counts as broken.
        price_per_call: by operation, in ``currency``; what the contract says, as prices change.
        currency: of the prices.

    Raises:
        SettingError: a setting is out of range.
    """

    def __init__(
        self,
        base_url: str,
        calls_per_second: float,
        terms: str,
        attempts: int = 5,
        timeout_seconds: float = 30.0,
        price_per_call: Mapping[str, float] | None = None,
        currency: str = "",
    ) -> None:
        self.base_url = base_url
        self.calls_per_second = positive("calls_per_second", calls_per_second)
        self.terms = terms
        self.attempts = whole("attempts", attempts)
        self.timeout_seconds = positive("timeout_seconds", timeout_seconds)
        self.price_per_call = {
            operation: at_least(f"price_per_call.{operation}", price)
            for operation, price in (price_per_call or {}).items()
        }
        self.currency = currency

    def card(self, **facts: Any) -> ServiceCard:
        """The card of a service on this line, with the facts about it."""
        return ServiceCard(
            host=urlsplit(self.base_url).netloc,
            terms=self.terms,
            calls_per_second=self.calls_per_second,
            price_per_call=self.price_per_call,
            currency=self.currency,
            **facts,
        )
