"""`Inbound`, `Outbound` and `ApiError`: what goes in and out of the local service, whatever carries it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Inbound:
    """A request that arrived; names of headers are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Outbound:
    """What is sent back: a JSON value."""

    value: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        """The body."""
        return json.dumps(self.value, separators=(",", ":")).encode()


class ApiError(Exception):
    """A request that gets no answer but an error.

    Attributes:
        status: of HTTP.
        code: in one word.
        retry_after_seconds: when to ask again, where that is said.
    """

    def __init__(self, status: int, code: str, message: str, retry_after_seconds: int | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_after_seconds = status, code, retry_after_seconds

    @property
    def headers(self) -> dict[str, str]:
        """``retry-after``, where it is said."""
        return {} if self.retry_after_seconds is None else {"retry-after": str(self.retry_after_seconds)}
