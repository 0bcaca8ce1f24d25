"""`FaceNetworks`: what the networks of the local service see in a picture, looked at once for each.

Each picture goes through a network alone. Requests that happen to wait together could share a forward pass, but then
the last bits of a score, and with them now and then its last digit, would depend on who else asked: a run that is
resumed would end in other tables. What saves more is that a picture which was seen already is not looked at again.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cloakbench.bench.core.errors import reason_of
from cloakbench.bench.services.local.messages import ApiError
from cloakbench.bench.services.local.pictures import FaceReader
from cloakbench.models.attributes import AttributeModel, AttributeOutput
from cloakbench.models.base import Recogniser

_KEPT = 8192


@dataclass
class KnownFace:
    """A face that was seen.

    Attributes:
        digest: of its file, 32 hex digits.
        crop: uint8 ``[3, 112, 112]``.
        box: left, top, width and height in pixels of the picture.
        embedding: unit, float64 ``[D]``.
        readings: attributes by name, once somebody asked for them.
    """

    digest: str
    crop: Tensor
    box: tuple[int, int, int, int]
    embedding: Tensor
    readings: dict[str, dict[str, Any]] | None = None


class FaceNetworks:
    """A recogniser and, where there is one, an attribute model. May be used by several threads.

    Args:
        model: compares faces.
        attribute_model: tells attributes; None where they are not offered.
        reader: finds faces.
        kept: pictures whose answers are kept in memory.
    """

    def __init__(
        self, model: Recogniser, attribute_model: AttributeModel | None, reader: FaceReader, kept: int = _KEPT
    ) -> None:
        self.model, self.attribute_model = model, attribute_model
        self._reader, self._most = reader, kept
        self._device = next(model.parameters(), torch.empty(0)).device
        self._computing = threading.Lock()
        self._kept: OrderedDict[str, KnownFace | None] = OrderedDict()

    def face(self, content: bytes) -> KnownFace | None:
        """The face in a picture; None where there is none.

        Raises:
            BadPictureError: the picture is not taken.
            ApiError: the network failed.
        """
        digest = hashlib.sha256(content).hexdigest()[:32]
        with self._computing:
            if digest in self._kept:
                self._kept.move_to_end(digest)
                return self._kept[digest]
            seen = self._reader.read(content)
            known = None if seen is None else KnownFace(digest, seen.crop, seen.box, self._embed(seen.crop))
            self._kept[digest] = known
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
            return known

    def seen_before(self, digest: str) -> KnownFace | None:
        """A face by its digest, while it is kept."""
        with self._computing:
            return self._kept.get(digest)

    def readings(self, face: KnownFace) -> dict[str, dict[str, Any]]:
        """Attributes of a face by name: ``class`` and ``scores`` of all classes, or a ``value`` with its ``unit``.

        None are told without an attribute model.
        """
        model = self.attribute_model
        if model is None:
            return {}
        with self._computing, torch.no_grad():
            if face.readings is None:
                logits = model.logits(_batch_of(face.crop, self._device))
                face.readings = {one.name: _reading(one, logits[one.name][0].double().cpu()) for one in model.outputs}
            return face.readings

    def _embed(self, crop: Tensor) -> Tensor:
        try:
            with torch.no_grad():
                embedding = self.model.embed(_batch_of(crop, self._device))[0].double().cpu()
        except RuntimeError as problem:
            raise ApiError(500, "failed", f"the network failed: {reason_of(problem)}") from problem
        if not bool(embedding.isfinite().all()):
            raise ApiError(500, "failed", "the network gave no number")
        return embedding


def _batch_of(crop: Tensor, device: torch.device) -> Tensor:
    return crop[None].to(device=device, dtype=torch.float32) / 255


def _reading(output: AttributeOutput, logits: Tensor) -> dict[str, Any]:
    if not output.classes:
        return {"value": round(float(logits[0]), 3), "unit": output.unit}
    shares = logits.softmax(dim=0)
    scores = {name: round(float(share), 6) for name, share in zip(output.classes, shares, strict=True)}
    return {"class": output.classes[int(logits.argmax())], "scores": scores}
