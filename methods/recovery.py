"""`recovered_photos`: published photos and stored keys in, recovered 8-bit photos out, for all who recover."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from cloakbench.methods.base import Protector


def recovered_photos(protector: Protector, photos: Tensor, keys: Mapping[str, Tensor], people: Tensor) -> Tensor:
    """What the owners of keys get back, rounded as a file would hold it.

    Args:
        protector: the method, with the settings that the photos were protected with.
        photos: as they were published, uint8 ``[N, 3, H, W]``.
        keys: tensors by name, on any device.
        people: for each photo its row of the keys, long ``[N]``.

    Returns:
        uint8 ``[N, 3, H, W]`` on the device of the photos.

    Raises:
        NotImplementedError: the method gives no photo back.
        ValueError: there is no key for a photo, a key does not fit, or the method gave something else than photos.
    """
    device = photos.device
    if lacking := [name for name, key in keys.items() if len(people) and len(key) <= int(people.max())]:
        raise ValueError(f"{protector.name}: {lacking[0]} has {len(keys[lacking[0]])} rows, and photos of more owners")
    at_hand = {name: key.to(device) for name, key in keys.items()}
    with torch.no_grad():
        given = protector.recover(photos.float() / 255, at_hand, people.to(device))
    if given.shape != photos.shape or not bool(given.isfinite().all()):
        raise ValueError(f"{protector.name}: recover gave {tuple(given.shape)}, or values that are no numbers")
    return (255 * given).round_().clamp_(0, 255).to(torch.uint8)
