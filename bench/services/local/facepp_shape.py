"""`FaceppShape`: the local service in the shape of Face++ v3, for clients that were written for that.

Paths, names of fields, errors and the five faces of an addition are as documented there; scores, thresholds and the
networks are those of the local service. A face token is a digest of the picture, so detecting twice gives one token.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from cloakbench.bench.services.local.form import NoFormError, read_form
from cloakbench.bench.services.local.messages import ApiError, Inbound, Outbound
from cloakbench.bench.services.local.networks import KnownFace
from cloakbench.bench.services.local.operations import FaceOperations, NoSuchGalleryError
from cloakbench.bench.services.local.pictures import BadPictureError

PREFIX = "/facepp/v3/"
_MOST_ADDED, _MOST_RESULTS, _PAGE = 5, 5, 100
_REQUEST_BYTES = 2 << 20
_EMOTIONS = {
    "angry": "anger",
    "disgusted": "disgust",
    "fearful": "fear",
    "happy": "happiness",
    "sad": "sadness",
    "surprised": "surprise",
}
"""Names of networks' classes in that API; others stay as they are."""
_CODES = {"throttled": "CONCURRENCY_LIMIT_EXCEEDED", "quota": "AUTHORIZATION_ERROR:Insufficient Account Balance"}
_FORBIDDEN = 403

Fields = Mapping[str, str]
Files = Mapping[str, bytes]


class FaceppShape:
    """The calls below ``/facepp/v3/``.

    Args:
        operations: that do the work.
        key: which ``api_key`` has to be; empty for any.
    """

    def __init__(self, operations: FaceOperations, key: str = "") -> None:
        self._operations, self._key = operations, key
        self._calls: dict[str, Callable[[Fields, Files], dict[str, Any]]] = {
            "compare": self._compare,
            "detect": self._detect,
            "search": self._search,
            "faceset/create": self._create,
            "faceset/addface": self._add,
            "faceset/delete": self._delete,
            "faceset/getfacesets": self._list,
        }

    def answer(self, request: Inbound, request_id: str) -> Outbound:
        """The answer to a request; errors are answers with an ``error_message``."""
        try:
            if len(request.body) > _REQUEST_BYTES:
                raise ApiError(413, "Request Entity Too Large", "")
            fields, files = read_form(request.headers.get("content-type", ""), request.body)
            if self._key and fields.get("api_key") != self._key:
                raise ApiError(401, "AUTHENTICATION_ERROR", "")
            call = self._calls.get(request.path.removeprefix(PREFIX))
            if call is None:
                raise ApiError(404, "API_NOT_FOUND", "")
            return Outbound({"request_id": request_id, "time_used": 0, **call(fields, files)})
        except NoFormError:
            return self.failed(ApiError(400, "MISSING_ARGUMENTS:api_key", ""), request_id)
        except NoSuchGalleryError:
            return self.failed(ApiError(400, "INVALID_OUTER_ID", ""), request_id)
        except ApiError as problem:
            return self.failed(problem, request_id)

    def failed(self, problem: ApiError, request_id: str) -> Outbound:
        """An error as an answer."""
        code = _CODES.get(problem.code, "INTERNAL_ERROR" if problem.code == "failed" else problem.code)
        status = _FORBIDDEN if problem.code in _CODES else problem.status
        return Outbound({"request_id": request_id, "error_message": code}, status, problem.headers)

    def _compare(self, fields: Fields, files: Files) -> dict[str, Any]:
        a, b = (self._face(fields, files, number, base64_field=f"image_base64_{number}") for number in ("1", "2"))
        said = {"faces1": _faces(a), "faces2": _faces(b)}
        if a is None or b is None:
            return said
        return {**said, "confidence": self._operations.compared(a, b), "thresholds": self._thresholds()}

    def _detect(self, fields: Fields, files: Files) -> dict[str, Any]:
        face = self._face(fields, files)
        asked = set(filter(None, fields.get("return_attributes", "").split(",")))
        faces = _faces(face)
        if face is not None and asked:
            told = _attributes(self._operations.readings(face))
            faces[0]["attributes"] = {name: value for name, value in told.items() if name in asked}
        return {"faces": faces, "face_num": len(faces)}

    def _search(self, fields: Fields, files: Files) -> dict[str, Any]:
        gallery, count = _argument(fields, "outer_id"), fields.get("return_result_count", "1")
        if not self._operations.size(gallery):
            raise ApiError(400, "EMPTY_FACESET", "")
        if not count.isdecimal() or not 1 <= int(count) <= _MOST_RESULTS:
            raise ApiError(400, "BAD_ARGUMENTS:return_result_count", "")
        face = self._face(fields, files)
        if face is None:
            return {"faces": []}
        found = self._operations.search(gallery, face, int(count))
        results = [{"confidence": one.score, "face_token": one.face, "user_id": ""} for one in found]
        return {"faces": _faces(face), "results": results, "thresholds": self._thresholds()}

    def _create(self, fields: Fields, files: Files) -> dict[str, Any]:
        gallery = _argument(fields, "outer_id")
        if not self._operations.found(gallery):
            raise ApiError(400, "FACESET_EXIST", "")
        return {"outer_id": gallery, "faceset_token": gallery, "face_added": 0, "face_count": 0, "failure_detail": []}

    def _add(self, fields: Fields, files: Files) -> dict[str, Any]:
        gallery, tokens = _argument(fields, "outer_id"), _argument(fields, "face_tokens").split(",")
        if len(tokens) > _MOST_ADDED:
            raise ApiError(400, "BAD_ARGUMENTS:face_tokens", "")
        known = {token: face for token in tokens if (face := self._operations.seen_before(token)) is not None}
        self._operations.add(gallery, known)
        failed = [{"reason": "INVALID_FACE_TOKEN", "face_token": token} for token in tokens if token not in known]
        return {"outer_id": gallery, "face_added": len(known), "failure_detail": failed}

    def _delete(self, fields: Fields, files: Files) -> dict[str, Any]:
        gallery = _argument(fields, "outer_id")
        if self._operations.size(gallery) and fields.get("check_empty", "1") != "0":
            raise ApiError(400, "FACESET_NOT_EMPTY", "")
        self._operations.forget(gallery)
        return {"outer_id": gallery}

    def _list(self, fields: Fields, files: Files) -> dict[str, Any]:
        start = fields.get("start", "1")
        if not start.isdecimal() or int(start) < 1:
            raise ApiError(400, "BAD_ARGUMENTS:start", "")
        first, names = int(start) - 1, self._operations.galleries()
        said: dict[str, Any] = {"facesets": [{"outer_id": name} for name in names[first : first + _PAGE]]}
        return said if first + _PAGE >= len(names) else {**said, "next": str(first + _PAGE + 1)}

    def _thresholds(self) -> dict[str, float]:
        return {f"{far:.0e}".replace("e-0", "e-"): score for far, score in self._operations.thresholds.items()}

    def _face(
        self, fields: Fields, files: Files, number: str = "", base64_field: str = "image_base64"
    ) -> KnownFace | None:
        """The face of a picture: by token, as a file, or in base64, the first of them that is there."""
        if (token := fields.get(f"face_token{number}")) is not None:
            face = self._operations.seen_before(token)
            if face is None:
                raise ApiError(400, f"INVALID_FACE_TOKEN:{token[:32]}", "")
            return face
        field = f"image_file{number}"
        try:
            content = files[field] if field in files else base64.b64decode(_argument(fields, base64_field))
            return self._operations.face(content)
        except BadPictureError as problem:
            wrong = "INVALID_IMAGE_SIZE" if "sides" in str(problem) else "IMAGE_ERROR_UNSUPPORTED_FORMAT"
            raise ApiError(400, f"{wrong}:{field}", "") from None
        except ValueError:
            raise ApiError(400, f"IMAGE_ERROR_UNSUPPORTED_FORMAT:{base64_field}", "") from None


def _argument(fields: Fields, name: str) -> str:
    if not fields.get(name):
        raise ApiError(400, f"MISSING_ARGUMENTS:{name}", "")
    return fields[name]


def _faces(face: KnownFace | None) -> list[dict[str, Any]]:
    if face is None:
        return []
    left, top, width, height = face.box
    rectangle = {"top": top, "left": left, "width": width, "height": height}
    return [{"face_token": face.digest, "face_rectangle": rectangle}]


def _attributes(readings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Gender, age and emotion in that API's words, as far as the network tells them."""
    told: dict[str, Any] = {}
    if "class" in readings.get("gender", {}):
        female = readings["gender"]["class"] in ("female", "feminine", "woman")
        told["gender"] = {"value": "Female" if female else "Male"}
    if "value" in readings.get("age", {}):
        told["age"] = {"value": round(readings["age"]["value"])}
    if "scores" in readings.get("expression", {}):
        scores = readings["expression"]["scores"]
        told["emotion"] = {_EMOTIONS.get(name, name): round(100 * share, 3) for name, share in scores.items()}
    return told
