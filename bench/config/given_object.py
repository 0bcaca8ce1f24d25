"""`GivenObject`: an object that Python code handed over, as a value in a config, for parts that no YAML describes."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import Any

from cloakbench.models.attributes import AttributeModel
from cloakbench.models.base import Recogniser
from cloakbench.models.generators import Generator


class GivenObject:
    """An object with the digest that stands for it in keys.

    It is never copied with its config. To worker processes it travels as bytes over their pipe, and never into a file.

    Args:
        value: the object.
        digest: of everything that its results depend on; empty where keys have that from elsewhere.
    """

    def __init__(self, value: Any, digest: str) -> None:
        self.value = value
        self.digest = digest

    def __deepcopy__(self, memo: dict[int, Any]) -> GivenObject:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpacked, (pickle.dumps(self.value), self.digest)

    def __str__(self) -> str:
        kind = type(self.value)
        return f"handed over: {kind.__module__}.{kind.__qualname__} {self.digest}".rstrip()


def _unpacked(content: bytes, digest: str) -> GivenObject:
    return GivenObject(pickle.loads(content), digest)


def handed_over(part: Any) -> Any:
    """The ``_target_`` of a block around a `GivenObject`: gives what is in it, a network as a copy that may be moved
    to a device, with the digest as that of its weights."""
    if not isinstance(part.value, Recogniser | AttributeModel | Generator):
        return part.value
    model: Any = copy.deepcopy(part.value)
    model.card = replace(model.card, weights_sha256=part.digest)
    return model


def given_block(value: Any, digest: str) -> dict[str, Any]:
    """The block of a config that stands for an object."""
    return {"_target_": f"{handed_over.__module__}.{handed_over.__name__}", "part": GivenObject(value, digest)}
