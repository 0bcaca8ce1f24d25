"""`NeutralApi`: the local service as JSON with pictures in base64; `docs/services.md` has the table of its calls."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from cloakbench.bench.core.status import OK
from cloakbench.bench.services.local.messages import ApiError, Inbound, Outbound
from cloakbench.bench.services.local.networks import KnownFace
from cloakbench.bench.services.local.operations import SCALE, FaceOperations, NoSuchGalleryError
from cloakbench.bench.services.local.pictures import BadPictureError
from cloakbench.models.mlaas.local import API, FACES_AN_ADD, MOST_MATCHES
from cloakbench.models.services import ATTRIBUTES, BAD_PICTURE, COMPARE, NO_FACE

PREFIX = f"/v{API}/"
_GALLERIES = "galleries"


class NeutralApi:
    """The calls below ``/v1/``.

    Args:
        operations: that do the work.
        about: what is served, told with every answer: ``api_version`` and ``model_version`` among it.
        key: that a request has to bring; empty for none.
    """

    def __init__(self, operations: FaceOperations, about: Mapping[str, Any], key: str = "") -> None:
        self._operations, self._about, self._key = operations, about, key

    def answer(self, request: Inbound, request_id: str) -> Outbound:
        """The answer to a request; errors are answers with an ``error``."""
        common = {"request_id": request_id, "model_version": self._about["model_version"]}
        try:
            self._check(request)
            return Outbound({**common, **self._answer(request)})
        except ApiError as problem:
            return self.failed(problem, request_id)

    def failed(self, problem: ApiError, request_id: str) -> Outbound:
        """An error as an answer."""
        value = {"request_id": request_id, "error": {"code": problem.code, "message": str(problem)}}
        return Outbound(value, problem.status, problem.headers)

    def _check(self, request: Inbound) -> None:
        if self._key and request.headers.get("authorization") != f"Bearer {self._key}":
            raise ApiError(401, "wrong_key", "the key is wrong: set CLOAKBENCH_LOCAL_KEY as where it is served")
        wanted, served = request.headers.get("x-api-version", ""), self._about["api_version"]
        if wanted not in ("", served):
            raise ApiError(409, "other_version", f"{served} is served, not {wanted}: set api_version of the service")

    def _answer(self, request: Inbound) -> dict[str, Any]:
        parts = [unquote(part) for part in request.path.removeprefix(PREFIX).split("/")]
        call = (request.method, *(part if place != 1 else "NAME" for place, part in enumerate(parts)))
        calls: dict[tuple[str, ...], Callable[[], dict[str, Any]]] = {
            ("GET", "service"): lambda: dict(self._about),
            ("POST", COMPARE): lambda: self._compare(_value(request)),
            ("POST", ATTRIBUTES): lambda: self._attributes(_value(request)),
            ("GET", _GALLERIES): lambda: {_GALLERIES: list(self._operations.galleries())},
            ("PUT", _GALLERIES, "NAME"): lambda: {"made": self._operations.found(parts[1])},
            ("DELETE", _GALLERIES, "NAME"): lambda: {"deleted": self._operations.forget(parts[1])},
            ("POST", _GALLERIES, "NAME", "faces"): lambda: self._add(parts[1], _value(request)),
            ("POST", _GALLERIES, "NAME", "search"): lambda: self._search(parts[1], _value(request)),
        }
        if call not in calls:
            raise ApiError(404, "no_such_call", f"there is no {request.method} {request.path[:80]}")
        try:
            return calls[call]()
        except NoSuchGalleryError:
            raise ApiError(404, "no_such_gallery", f"there is no gallery {parts[1]}") from None
        except (KeyError, TypeError, AttributeError) as problem:
            raise ApiError(400, "bad_request", f"the request is not as documented: {type(problem).__name__}") from None

    def _compare(self, value: Any) -> dict[str, Any]:
        a, b = (self._face(value[name]) for name in "ab")
        said: dict[str, Any] = {"faces": [int(a is not None), int(b is not None)]}
        if a is None or b is None:
            return said
        return {**said, "score": self._operations.compared(a, b), **self._scale()}

    def _attributes(self, value: Any) -> dict[str, Any]:
        if not self._operations.tells_attributes:
            raise ApiError(501, "not_offered", "no attribute model is served: cloakbench serve attribute_model=NAME")
        face = self._face(value["picture"])
        return {"faces": 0} if face is None else {"faces": 1, "attributes": self._operations.readings(face)}

    def _add(self, gallery: str, value: Any) -> dict[str, Any]:
        pictures = dict(value["pictures"])
        if len(pictures) > FACES_AN_ADD:
            raise ApiError(400, "bad_request", f"{len(pictures)} pictures at once, at most {FACES_AN_ADD} are taken")
        said: dict[str, dict[str, str]] = {}
        faces: dict[str, KnownFace] = {}
        for name, picture in pictures.items():
            try:
                face = self._face(picture)
            except ApiError as problem:
                said[name] = {"status": BAD_PICTURE, "message": str(problem)}
                continue
            if face is None:
                said[name] = {"status": NO_FACE}
                continue
            handle = f"{name}.{face.digest}"  # the same for the same picture, so that asking twice adds nothing
            said[name], faces[handle] = {"status": OK, "face": handle}, face
        self._operations.add(gallery, faces)
        return {"faces": said}

    def _search(self, gallery: str, value: Any) -> dict[str, Any]:
        k = value["k"]
        if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= MOST_MATCHES:
            raise ApiError(400, "bad_request", f"k must be a whole number from 1 to {MOST_MATCHES}")
        self._operations.size(gallery)
        face = self._face(value["picture"])
        if face is None:
            return {"faces": 0}
        matches = [{"face": one.face, "score": one.score} for one in self._operations.search(gallery, face, k)]
        return {"faces": 1, "matches": matches, **self._scale()}

    def _scale(self) -> dict[str, Any]:
        thresholds = {f"{far:g}": score for far, score in self._operations.thresholds.items()}
        return {"scale": list(SCALE), "thresholds": thresholds}

    def _face(self, picture: Any) -> KnownFace | None:
        try:
            return self._operations.face(base64.b64decode(picture, validate=True))
        except (binascii.Error, ValueError, TypeError) as problem:
            why = str(problem) if isinstance(problem, BadPictureError) else "it is not base64"
            raise ApiError(400, "bad_picture", f"the picture is not taken: {why}") from None


def _value(request: Inbound) -> Any:
    try:
        return json.loads(request.body)
    except ValueError:
        raise ApiError(400, "bad_request", "the body is no JSON") from None
