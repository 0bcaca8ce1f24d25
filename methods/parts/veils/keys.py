"""Keys as pictures: found among the tensors of an owner, and held to the photos that they shall open."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def picture_key(method: str, name: str, keys: Mapping[str, Tensor], photos: Tensor) -> Tensor:
    """The key pictures ``[K, 3, H, W]`` for photos ``[N, 3, H, W]``.

    Raises:
        ValueError: there are none, or they are of another size; one line.
    """
    if (pictures := keys.get(name)) is None:
        raise ValueError(f"{method}: these are keys of another method: they hold no {name}")
    if pictures.shape[1:] != photos.shape[1:]:
        raise ValueError(
            f"{method}: the {name} is {tuple(pictures.shape[1:])}, the photos are {tuple(photos.shape[1:])}"
        )
    return pictures
