"""The local service itself, behind a server that counts calls and fails when it is told to."""

from __future__ import annotations

from thumbnail_faces import looking, thumbnails

from cloakbench.bench.services.local.messages import ApiError, Inbound
from cloakbench.bench.services.local.server import FaceService
from emulators.pixels import similarity
from emulators.server import Asked, Emulator, Said

THRESHOLDS = {0.1: 0.2, 0.01: 0.5}


class LocalEmulator(Emulator):
    """What `cloakbench serve` offers, with networks that need no training."""

    def __init__(self) -> None:
        super().__init__()
        self.serving = FaceService(thumbnails(), looking(), THRESHOLDS, key=self.key)

    def action(self, asked: Asked) -> str:
        parts = asked.path.split("/")
        return f"{asked.method} {parts[-1] if len(parts) != 4 else parts[2]}"

    def vendor_fault(self, fault: str) -> Said:
        problem = {
            "throttle": ApiError(429, "throttled", "too fast"),
            "quota": ApiError(403, "quota", "used up"),
        }[fault]
        said = self.serving.refuse(problem)
        return Said(said.value, said.status)

    def respond(self, asked: Asked) -> Said:
        said = self.serving.answer(Inbound(asked.method, asked.path, asked.headers, asked.body))
        value = said.value
        if self.score is not similarity and "score" in value:
            value = {**value, "score": 100 * self.score(b"", b"")}
        return Said(value, said.status, headers=dict(said.headers))
