"""`Aliyun`: facebody of Aliyun, version 2019-12-30.

Comparison takes base64. Everything else takes the address of a file in the vendor's object store, so a photo is first
uploaded there: one call gives a permit for one file, a second puts the file, the third asks about it. A comparison
carries its thresholds, at false accept rates of 1e-3, 1e-4, 1e-5. Confidence 0 with empty boxes means that no face was
found, and is never a score.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from cloakbench.bench.core.status import OK
from cloakbench.models.mlaas.http_service import Call, ComplaintError, HttpService, finite, no_face, outcome_of
from cloakbench.models.mlaas.line import ServiceLine
from cloakbench.models.mlaas.signatures import acs3_headers
from cloakbench.models.mlaas.wire import Reply, Request, form_body, multipart
from cloakbench.models.pictures import Picture, PictureLimits
from cloakbench.models.services import (
    ATTRIBUTES,
    BAD_PICTURE,
    COMPARE,
    ENROL,
    FORGET,
    FOUND,
    MALFORMED,
    NO_FACE,
    OPERATIONS,
    QUOTA,
    REFUSED,
    SEARCH,
    SERVICE_FAILED,
    THROTTLED,
    Connection,
    Match,
    ServiceAnswer,
    Thresholds,
)
from cloakbench.models.vocabulary import Vocabulary

VERSION = "2019-12-30"
_UPLOAD_VERSION = "2019-12-19"
_FORM = "application/x-www-form-urlencoded"
_FARS = (1e-3, 1e-4, 1e-5)
_VENDOR = "aliyuncs.com"
_PAGE = 100
_MEANINGS = (  # the first that a code begins with
    ("Throttling", THROTTLED),
    ("InternalError", SERVICE_FAILED),
    ("ServiceUnavailable", SERVICE_FAILED),
    ("InvalidAccessKey", REFUSED),
    ("InvalidSecurityToken", REFUSED),
    ("SignatureDoesNotMatch", REFUSED),
    ("InvalidTimeStamp", REFUSED),
    ("AuthFailed", REFUSED),
    ("InvalidApi.ForbiddenInvoke", REFUSED),
    ("InvalidApi.NotPurchase", REFUSED),
    ("InvalidApi", QUOTA),
    ("InvalidFile", BAD_PICTURE),
    ("InvalidImage", BAD_PICTURE),
)
_WORDS = Vocabulary(gender={"0": "female", "1": "male"}, expression={"0": "neutral", "1": "happy"})


class Aliyun(HttpService):
    """Aliyun facebody.

    Args:
        name: key of the service.
        line: how it is reached; the region is part of the host.
        connection: of whoever asks.
        upload_url: where permits for uploads are given.
        bucket_url: where files are put, with ``{bucket}`` and ``{endpoint}`` as a permit names them.
    """

    def __init__(
        self,
        name: str,
        line: ServiceLine,
        connection: Connection,
        upload_url: str = "https://openplatform.aliyuncs.com",
        bucket_url: str = "https://{bucket}.{endpoint}",
    ) -> None:
        self._upload_url, self._bucket_url = upload_url, bucket_url
        card = line.card(
            name=name,
            title="Aliyun",
            api_version=VERSION,
            operations=frozenset(OPERATIONS),
            pictures=PictureLimits(file_bytes=5 << 20, side_px=(32, 4096), face_px=64),
            most_matches=10,
            requests_each={SEARCH: 3, ATTRIBUTES: 3, ENROL: 4},
            thresholds={COMPARE: Thresholds(source="answer")},
            vocabulary=_WORDS,
            read_on="2026-11-20",
        )
        super().__init__(card, line, connection)

    def _ask(self, call: Call, action: str, fields: Mapping[str, str]) -> Any:
        return self._rpc(call, action, fields, VERSION)["Data"]

    def _rpc(
        self, call: Call, action: str, fields: Mapping[str, str], version: str, base_url: str | None = None
    ) -> Any:
        body = form_body(fields)
        host = self._host if base_url is None else base_url.partition("://")[2].rstrip("/")

        def make() -> Request:
            keys, nonce = self._connection.keys, secrets.token_hex(16)
            headers = acs3_headers(keys, action, version, host, _FORM, body, self._connection.now(), nonce)
            return Request(action, headers=headers, body=body, base_url=base_url)

        return self._exchange(call, make, kept=base_url is None)

    def _uploaded(self, call: Call, photo: Picture) -> str:
        """The address of a photo in the vendor's store, after two calls."""
        permit = self._rpc(call, "AuthorizeFileUpload", {"Product": "facebody"}, _UPLOAD_VERSION, self._upload_url)
        endpoint, key = str(permit["Endpoint"]), str(permit["ObjectKey"])
        base_url = self._bucket_url.format(bucket=permit["Bucket"], endpoint=endpoint)
        if "{endpoint}" in self._bucket_url and not (urlsplit(base_url).hostname or "").endswith(f".{_VENDOR}"):
            raise ComplaintError(MALFORMED, "photos would be uploaded to a host that is not the vendor's")
        fields = {
            "OSSAccessKeyId": str(permit["AccessKeyId"]),
            "policy": str(permit["EncodedPolicy"]),
            "Signature": str(permit["Signature"]),
            "key": key,
            "success_action_status": "200",
        }
        kind, body = multipart(fields, {"file": (f"photo.{photo.kind}", photo.content)})
        put = Request("PostObject", "/", {}, {"content-type": kind}, body, base_url=base_url)
        self._exchange(call, lambda: put, kept=False)
        return f"{base_url}/{key}"

    def _compare(self, call: Call, a: Picture, b: Picture) -> ServiceAnswer:
        asked = {"ImageDataA": a.base64(), "ImageDataB": b.base64(), "QualityScoreThreshold": "0"}
        said = self._ask(call, "CompareFace", asked)
        if said["Confidence"] == 0 and not (any(said.get("RectAList") or ()) and any(said.get("RectBList") or ())):
            return no_face(COMPARE)
        by_far = dict(zip(_FARS, map(finite, said["Thresholds"]), strict=True))
        return ServiceAnswer(
            COMPARE, score=self._score(said["Confidence"]), thresholds=Thresholds(by_far, source="answer")
        )

    def _found(self, call: Call, gallery: str) -> ServiceAnswer:
        self._unless_exists(call, "CreateFaceDb", {"Name": gallery})
        return ServiceAnswer(FOUND)

    def _enrol(self, call: Call, gallery: str, photos: Mapping[str, Picture]) -> ServiceAnswer:
        handles, outcomes = {}, {}
        for name, photo in photos.items():
            entity = {"DbName": gallery, "EntityId": name}
            self._unless_exists(call, "AddFaceEntity", entity)
            try:
                address = self._uploaded(call, photo)
                self._rpc(call, "AddFace", {**entity, "ImageUrl": address, "QualityScoreThreshold": "0"}, VERSION)
            except ComplaintError as problem:
                outcomes[name] = outcome_of(problem)
            else:
                outcomes[name], handles[name] = OK, name
        return ServiceAnswer(ENROL, handles=handles, outcomes=outcomes)

    def _search(self, call: Call, gallery: str, photo: Picture, k: int) -> ServiceAnswer:
        asked = {
            "DbName": gallery,
            "ImageUrl": self._uploaded(call, photo),
            "Limit": str(k),
            "MaxFaceNum": "1",
            "QualityScoreThreshold": "0",
        }
        lists = self._ask(call, "SearchFace", asked)["MatchList"]
        if not lists:
            return no_face(SEARCH)
        found = tuple(Match(str(one["EntityId"]), self._score(one["Confidence"])) for one in lists[0]["FaceItems"])
        return ServiceAnswer(SEARCH, matches=found)

    def _forget(self, call: Call, gallery: str) -> ServiceAnswer:
        """A database is deleted when it is empty, so its entities go first."""
        try:
            gone: list[str] = []
            while people := self._entities(call, gallery):
                if people == gone:  # each look and each deletion is a call: there is an end to trying
                    raise ComplaintError(SERVICE_FAILED, "faces that were deleted are still there")
                gone = people
                for person in people:
                    self._rpc(call, "DeleteFaceEntity", {"DbName": gallery, "EntityId": person}, VERSION)
            self._rpc(call, "DeleteFaceDb", {"Name": gallery}, VERSION)
        except ComplaintError as problem:
            if "NotExist" not in problem.code and "NotFound" not in problem.code:
                raise
        return ServiceAnswer(FORGET)

    def _entities(self, call: Call, gallery: str) -> list[str]:
        said = self._ask(call, "ListFaceEntities", {"DbName": gallery, "Limit": str(_PAGE)})
        return [str(one["EntityId"]) for one in said["Entities"]]

    def _leftovers(self, call: Call, prefix: str) -> Iterable[str]:
        return [str(one["Name"]) for one in self._ask(call, "ListFaceDbs", {})["DbList"]]

    def _attributes(self, call: Call, photo: Picture) -> ServiceAnswer:
        asked = {"ImageURL": self._uploaded(call, photo), "Age": "true", "Gender": "true", "Expression": "true"}
        said = self._ask(call, "RecognizeFace", asked)
        if not said["FaceCount"]:
            return no_face(ATTRIBUTES)
        return ServiceAnswer(
            ATTRIBUTES,
            attributes={
                "gender": str(said["GenderList"][0]),
                "age": finite(said["AgeList"][0]),
                "expression": str(said["Expressions"][0]),
            },
        )

    def _unless_exists(self, call: Call, action: str, fields: Mapping[str, str]) -> None:
        try:
            self._rpc(call, action, fields, VERSION)
        except ComplaintError as problem:
            if "Exist" not in problem.code or "NotExist" in problem.code:
                raise

    def _complaint(self, reply: Reply, body: Any) -> ComplaintError | None:
        if reply.status < 400 or not isinstance(body, dict) or "Code" not in body:
            return None
        code, said = str(body["Code"]), str(body.get("Message", ""))
        if code == "InvalidFile.Content" and "face" in said.lower():
            return ComplaintError(NO_FACE, f"{code}: {said}", code)
        status = next((meaning for start, meaning in _MEANINGS if code.startswith(start)), MALFORMED)
        hint = " (is the clock of this machine right?)" if code.startswith("InvalidTimeStamp") else ""
        return ComplaintError(status, f"{code}: {said}{hint}", code)

    def _request_id(self, reply: Reply, body: Any) -> str:
        return str(body.get("RequestId", "")) if isinstance(body, dict) else ""
