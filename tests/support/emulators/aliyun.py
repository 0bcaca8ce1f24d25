"""Aliyun facebody 2019-12-30, as its documentation describes it: ACS3 signatures, photos through an object store."""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
from calendar import timegm
from typing import Any

from emulators.pixels import NoPictureError, box, has_face, looks, opened
from emulators.server import Asked, Emulator, Said, hmac_chain, multipart_form, sha256

_HEADER = re.compile(r"ACS3-HMAC-SHA256 Credential=([^,]+),SignedHeaders=([^,]+),Signature=([0-9a-f]+)")
_SIGNED = ("x-acs-action", "x-acs-content-sha256", "x-acs-date", "x-acs-signature-nonce", "x-acs-version")
_PERMIT = {"AccessKeyId": "LENTKEYID", "EncodedPolicy": "eyJleHAiOjF9", "Signature": "lentsignature="}


class _ProblemError(Exception):
    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


class AliyunEmulator(Emulator):
    """Comparison by base64, all else by address; one server plays API, permits and object store.

    Attributes:
        databases: entity to pictures.
        files: what was uploaded, by key.
        refuses_faceless: a comparison without a face fails; otherwise it has confidence 0 and empty boxes.
        endpoint: where a permit says that files go.
    """

    def __init__(self) -> None:
        super().__init__()
        self.databases: dict[str, dict[str, list[bytes]]] = {}
        self.files: dict[str, bytes] = {}
        self.refuses_faceless = False
        self.endpoint = "oss-cn-shanghai.aliyuncs.com"
        self._nonces: set[str] = set()

    def action(self, asked: Asked) -> str:
        return asked.headers.get("x-acs-action", "PostObject")

    def vendor_fault(self, fault: str) -> Said:
        codes = {
            "throttle": ("Throttling.User", "Request was denied due to user flow control.", 400),
            "quota": ("InvalidApi.Purchase", "the resource pack is used up", 403),
            "not_bought": ("InvalidApi.NotPurchase", "the ability was not opened", 403),
            "busy": ("InternalError.Algo", "An algorithm error occurred", 500),
        }
        code, message, status = codes[fault]
        return _failed(_ProblemError(code, message, status))

    def respond(self, asked: Asked) -> Said:
        try:
            if self.action(asked) == "PostObject":
                return self._put(asked)
            self._check_access(asked)
            done = getattr(self, f"_{self.action(asked)}", None)
            if done is None:
                raise _ProblemError("InvalidAction.NotFound", "no such action", 404)
            return done(asked.form())
        except _ProblemError as problem:
            return _failed(problem)

    def _check_access(self, asked: Asked) -> None:
        found = _HEADER.fullmatch(asked.headers.get("authorization", ""))
        if found is None:
            raise _ProblemError("MissingSignature", "no signature")
        key, names, signature = found.groups()
        if key != self.key:
            raise _ProblemError("InvalidAccessKeyId.NotFound", "Specified access key is not found.", 404)
        stamp = timegm(time.strptime(asked.headers["x-acs-date"], "%Y-%m-%dT%H:%M:%SZ"))
        if abs(time.time() - stamp) > 900:
            raise _ProblemError("InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")
        if asked.headers["x-acs-signature-nonce"] in self._nonces:
            raise _ProblemError("SignatureNonceUsed", "used before")
        self._nonces.add(asked.headers["x-acs-signature-nonce"])
        lines = "".join(f"{name}:{asked.headers[name]}\n" for name in names.split(";"))
        canonical = f"POST\n/\n\n{lines}\n{names}\n{asked.headers['x-acs-content-sha256']}"
        right = hmac_chain(self.secret.encode(), f"ACS3-HMAC-SHA256\n{sha256(canonical.encode())}").hex()
        signed = {"host", "content-type", *_SIGNED} <= set(names.split(";"))
        if signature != right or not signed or sha256(asked.body) != asked.headers["x-acs-content-sha256"]:
            raise _ProblemError("SignatureDoesNotMatch", f"not {signature}")

    def _picture(self, content: bytes) -> bytes:
        if len(content) > 5 << 20:
            raise _ProblemError("InvalidFile.Size", "too many bytes")
        try:
            sides = opened(content).size
        except NoPictureError:
            raise _ProblemError("InvalidFile.Decode", "no picture") from None
        if min(sides) < 32 or max(sides) > 4096:
            raise _ProblemError("InvalidFile.Resolution", "32 to 4096 pixels")
        return content

    def _CompareFace(self, form: dict[str, str]) -> Said:  # noqa: N802
        try:
            a, b = (self._picture(base64.b64decode(form[f"ImageData{one}"], validate=True)) for one in "AB")
        except binascii.Error:
            raise _ProblemError("InvalidFile.Decode", "no base64") from None
        faces = has_face(a), has_face(b)
        thresholds = [61.0, 69.0, 75.0]
        if all(faces):
            boxes = {"RectAList": list(box(a)), "RectBList": list(box(b))}
            return _fine({"Confidence": round(100 * self.score(a, b), 4), "Thresholds": thresholds, **boxes})
        if self.refuses_faceless:
            raise _ProblemError("InvalidFile.Content", "There is no face in the image.")
        boxes = {
            f"Rect{one}List": list(box(picture)) if face else [0, 0, 0, 0]
            for one, picture, face in zip("AB", (a, b), faces, strict=True)
        }
        return _fine({"Confidence": 0, "Thresholds": thresholds, **boxes})

    def _AuthorizeFileUpload(self, form: dict[str, str]) -> Said:  # noqa: N802
        key = f"1/2020/{len(self.files):06d}.png"
        self.files[key] = b""
        return Said({"RequestId": "9D9D", "Bucket": "viapi", "Endpoint": self.endpoint, "ObjectKey": key, **_PERMIT})

    def _put(self, asked: Asked) -> Said:
        fields, files = multipart_form(asked)
        if {"OSSAccessKeyId", "policy", "Signature", "key"} - set(fields) or fields["key"] not in self.files:
            return Said(b"<Error><Code>AccessDenied</Code></Error>", 403, "application/xml")
        self.files[fields["key"]] = files["file"]
        if fields.get("success_action_status") == "201":
            return Said(b"<PostResponse/>", 201, "application/xml")
        return Said(b"", 200, "application/xml")

    def _at(self, address: str) -> bytes:
        key = address.partition("/viapi/")[2]
        if not self.files.get(key):
            raise _ProblemError("InvalidFile.Download", "nothing is there")
        content = self._picture(self.files[key])
        if not has_face(content):
            raise _ProblemError("InvalidFile.Content", "There is no face in the image.")
        return content

    def _database(self, name: str) -> dict[str, list[bytes]]:
        if name not in self.databases:
            raise _ProblemError("InvalidDbName.NotExist", "no such database")
        return self.databases[name]

    def _CreateFaceDb(self, form: dict[str, str]) -> Said:  # noqa: N802
        if form["Name"] in self.databases:
            raise _ProblemError("InvalidDbName.AlreadyExist", "it exists")
        self.databases[form["Name"]] = {}
        return Said({"RequestId": "9D9D"})

    def _AddFaceEntity(self, form: dict[str, str]) -> Said:  # noqa: N802
        if form["EntityId"] in self._database(form["DbName"]):
            raise _ProblemError("InvalidEntityId.AlreadyExist", "it exists")
        self._database(form["DbName"])[form["EntityId"]] = []
        return Said({"RequestId": "9D9D"})

    def _AddFace(self, form: dict[str, str]) -> Said:  # noqa: N802
        self._database(form["DbName"])[form["EntityId"]].append(self._at(form["ImageUrl"]))
        return _fine({"FaceId": "1", "QualitieScore": 97.0})

    def _SearchFace(self, form: dict[str, str]) -> Said:  # noqa: N802
        content = self._at(form["ImageUrl"])
        found = [
            {"EntityId": entity, "FaceId": "1", "Confidence": max(100 * self.score(content, one) for one in pictures)}
            for entity, pictures in self._database(form["DbName"]).items()
            if pictures
        ]
        best = sorted(found, key=lambda one: (-float(one["Confidence"]), str(one["EntityId"])))[: int(form["Limit"])]
        return _fine({"MatchList": [{"FaceItems": best, "Location": {}}]})

    def _ListFaceEntities(self, form: dict[str, str]) -> Said:  # noqa: N802
        names = list(self._database(form["DbName"]))[: int(form.get("Limit", "50"))]
        return _fine({"Entities": [{"EntityId": one} for one in names], "TotalCount": len(names)})

    def _DeleteFaceEntity(self, form: dict[str, str]) -> Said:  # noqa: N802
        self._database(form["DbName"]).pop(form["EntityId"])
        return Said({"RequestId": "9D9D"})

    def _DeleteFaceDb(self, form: dict[str, str]) -> Said:  # noqa: N802
        if self._database(form["Name"]):
            raise _ProblemError("InvalidDB.Status", "it is not empty")
        del self.databases[form["Name"]]
        return Said({"RequestId": "9D9D"})

    def _ListFaceDbs(self, form: dict[str, str]) -> Said:  # noqa: N802
        return _fine({"DbList": [{"Name": one} for one in self.databases]})

    def _RecognizeFace(self, form: dict[str, str]) -> Said:  # noqa: N802
        female, age, smiling = looks(self._at(form["ImageURL"]))
        data: dict[str, Any] = {"FaceCount": 1, "FaceRectangles": [1, 1, 9, 9]}
        for name, key, value in (
            ("Gender", "GenderList", int(not female)),
            ("Age", "AgeList", age),
            ("Expression", "Expressions", int(smiling)),
        ):
            data[key] = [value] if form.get(name) == "true" else []
        return _fine(data)


def _fine(data: dict[str, Any]) -> Said:
    return Said({"RequestId": "9D9D", "Data": data})


def _failed(problem: _ProblemError) -> Said:
    value = {"Code": problem.code, "Message": problem.message, "RequestId": "9D9D", "HostId": "h", "Recommend": "r"}
    return Said(json.dumps(value).encode(), problem.status, "application/json;charset=utf-8")
