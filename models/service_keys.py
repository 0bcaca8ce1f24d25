"""`ServiceKeys`: what opens a service, in a box that prints nothing."""

from __future__ import annotations

import base64
import hashlib
from urllib.parse import quote, quote_plus

from cloakbench.bench.core.redaction import LEFT_OUT, without_secrets

_ROUNDS = 100_000
_SHORTEST = 4  # shorter texts may be parts of any word


class ServiceKeys:
    """Key and secret of a service.

    They are read where a request is made and nowhere else: neither text nor ``repr`` nor a pickle shows them.

    Args:
        key: names the account: access key, key id, subscription key.
        secret: signs requests, where the service has two parts.
        token: of temporary keys.
    """

    __slots__ = ("_issued", "key", "secret", "token")

    def __init__(self, key: str, secret: str = "", token: str = "") -> None:
        self.key, self.secret, self.token = key, secret, token
        self._issued: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"ServiceKeys({LEFT_OUT})"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("keys of a service are never written down")

    def issued(self, token: str) -> None:
        """Note a token that the service gave for the keys: it opens as much, and is shown as little."""
        self._issued = (*self._issued[-7:], token)

    def fingerprint(self, service: str) -> str:
        """16 hex digits by which processes that share a rate know the same key; slow to compute on purpose."""
        return hashlib.pbkdf2_hmac("sha256", self.key.encode(), f"rate of {service}".encode(), _ROUNDS).hex()[:16]

    def without(self, text: str) -> str:
        """A text without the keys, however they are spelt in it, and without what else looks like a secret."""
        for value in (self.secret, self.token, self.key, *self._issued):
            if len(value) >= _SHORTEST:
                encoded = base64.b64encode(value.encode()).decode()
                for spelt in (value, quote(value, safe=""), quote_plus(value), encoded):
                    text = text.replace(spelt, LEFT_OUT)
        return without_secrets(text)
