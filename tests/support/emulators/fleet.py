"""The emulators of all vendors, and services that are built from the project's configs to talk to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor
from torch.nn.functional import interpolate

from cloakbench.bench.services.building import build_service
from cloakbench.models.pictures import Picture
from cloakbench.models.service_keys import ServiceKeys
from cloakbench.models.services import Connection, RemoteService
from emulators.aliyun import AliyunEmulator
from emulators.azure import AzureEmulator
from emulators.baidu import BaiduEmulator
from emulators.facepp import FaceppEmulator
from emulators.local import LocalEmulator
from emulators.rekognition import RekognitionEmulator
from emulators.server import Asked, Emulator, Said
from emulators.tencent import TencentEmulator

CONF = Path(__file__).parents[3] / "conf" / "service"
EMULATORS: Mapping[str, type[Emulator]] = {
    "facepp": FaceppEmulator,
    "baidu": BaiduEmulator,
    "tencent": TencentEmulator,
    "aliyun": AliyunEmulator,
    "rekognition": RekognitionEmulator,
    "azure": AzureEmulator,
    "local": LocalEmulator,
}
TIMEOUT_SECONDS = 20.0


def service_of(name: str, emulator: Emulator, connection: Connection | None = None, **settings: Any) -> RemoteService:
    """A vendor's service from its config, with the emulator in the vendor's place.

    Args:
        name: of the config.
        emulator: running.
        connection: with the emulator's keys and without waits, unless it is given.
        settings: of the service, or of its line.
    """
    config: Any = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"))
    config["line"] |= {"base_url": emulator.url, "timeout_seconds": TIMEOUT_SECONDS}
    if name == "aliyun":
        config |= {"upload_url": emulator.url, "bucket_url": f"{emulator.url}/{{bucket}}"}
    for setting, value in settings.items():
        (config if setting in config else config["line"])[setting] = value
    return build_service(config, name, connection or connected(emulator))


def connected(emulator: Emulator, **changes: Any) -> Connection:
    """A connection with the emulator's keys that never waits."""
    given: dict[str, Any] = {"keys": ServiceKeys(emulator.key, emulator.secret), "sleep": lambda seconds: None}
    return Connection(**{**given, **changes})


def face(person: int, photo: int = 0, side_px: int = 240) -> Picture:
    """A picture of somebody: eight by eight coloured fields, a little different in each photo."""
    return Picture.of(face_pixels(person, photo, side_px))


def face_pixels(person: int, photo: int = 0, side_px: int = 240) -> Tensor:
    """The pixels of `face`, uint8 ``[3, H, W]``."""
    fields = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(person))
    noise = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(1000 * person + photo + 1))
    image = (fields + 0.05 * noise).clamp(0, 1)
    return interpolate(image[None], size=[side_px, side_px], mode="nearest")[0].mul(255).round().to(torch.uint8)


def blank(side_px: int = 240) -> Picture:
    """A picture of nobody: grey with a little grain."""
    grain = torch.randint(-2, 3, (3, side_px, side_px), generator=torch.Generator().manual_seed(0))
    return Picture.of((128 + grain).to(torch.uint8))


def huge() -> Picture:
    """What no service takes: a file of 7 MB."""
    return replace(face(1), content=bytes(7 << 20))


def noisy(side_px: int, seed: int = 0) -> Picture:
    """A picture that no format makes smaller: three random bytes a pixel."""
    draws = torch.Generator().manual_seed(seed)
    return Picture.of(torch.randint(256, (3, side_px, side_px), generator=draws, dtype=torch.uint8))


def asked_of(pair: Any) -> list[Asked]:
    """Every request that the emulator is going to answer."""
    seen: list[Asked] = []
    respond = pair.emulator.respond

    def noted(asked: Asked) -> Said:
        seen.append(asked)
        return respond(asked)

    pair.emulator.respond = noted
    return seen
