"""`Tencent`: face recognition of Tencent Cloud (IAI), version 2020-03-03, model 3.0.

Answers are HTTP 200 with the error inside. Two operations compare: ``CompareFace``, with thresholds 40, 50, 60 at false
accept rates of 1e-3, 1e-4, 1e-5, and the newer ``DetectFaceSimilarity``, with one at 1e-4. Scores of searches are on
another scale, whose thresholds grow with the gallery. Attributes that were not asked for come back as 0, so exactly
those are read that were asked for. Groups hold people, not photos: a photo is a person here, under a number of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cloakbench.bench.core.ranges import one_of
from cloakbench.bench.core.status import OK
from cloakbench.models.mlaas.http_service import Call, ComplaintError, HttpService, finite, no_face, outcome_of
from cloakbench.models.mlaas.line import ServiceLine
from cloakbench.models.mlaas.signatures import tc3_headers
from cloakbench.models.mlaas.wire import Reply, Request, json_body
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

VERSION = "2020-03-03"
_MODEL = "3.0"
_JSON = "application/json"
_COMPARISONS = {
    "CompareFace": Thresholds({1e-3: 40.0, 1e-4: 50.0, 1e-5: 60.0}, 50.0),
    "DetectFaceSimilarity": Thresholds({1e-4: 70.0}, 70.0),
}
_SEARCH_SCORES = {10_000: {1e-2: 70.0, 1e-3: 80.0, 1e-4: 90.0}, 100_000: {1e-2: 80.0, 1e-3: 90.0, 1e-4: 100.0}}
"""Thresholds of searches by the size of the gallery, the largest published size for each."""
_AGE, _GENDER, _EMOTION = "Age", "Gender", "Emotion"
_LOW_QUALITY = -1601
_PAGE = 100
_MEANINGS = (  # the first that a code begins with
    ("RequestLimitExceeded", THROTTLED),
    ("FailedOperation.RequestLimitExceeded", THROTTLED),
    ("LimitExceeded", THROTTLED),
    ("InvalidParameterValue.NoFaceInPhoto", NO_FACE),
    ("FailedOperation.ImageFacedetectFailed", NO_FACE),
    ("FailedOperation.FaceSizeTooSmall", BAD_PICTURE),
    ("FailedOperation.Image", BAD_PICTURE),
    ("FailedOperation.FaceQualityNotQualified", BAD_PICTURE),
    ("FailedOperation.RequestTimeout", SERVICE_FAILED),
    ("FailedOperation.RpcFail", SERVICE_FAILED),
    ("FailedOperation.ServerError", SERVICE_FAILED),
    ("InternalError", SERVICE_FAILED),
    ("ResourceUnavailable.NotExist", REFUSED),
    ("ResourceUnavailable", QUOTA),
    ("AuthFailure", REFUSED),
    ("UnauthorizedOperation", REFUSED),
)
_WORDS = Vocabulary(
    gender={"0": "male", "1": "female"},
    expression={"0": "neutral", "1": "happy", "2": "surprised", **dict.fromkeys("3456", "negative")},
)


class Tencent(HttpService):
    """Tencent Cloud IAI.

    Args:
        name: key of the service.
        line: how it is reached.
        connection: of whoever asks.
        comparison: the operation that compares: ``CompareFace`` or ``DetectFaceSimilarity``.
        region: that answers about attributes, such as ``ap-shanghai``.
    """

    def __init__(
        self,
        name: str,
        line: ServiceLine,
        connection: Connection,
        comparison: str = "CompareFace",
        region: str = "ap-shanghai",
    ) -> None:
        self._comparison = one_of("comparison", comparison, tuple(_COMPARISONS))
        self._region = region
        card = line.card(
            name=name,
            title="Tencent Cloud",
            api_version=f"{VERSION}, {comparison}",
            operations=frozenset(OPERATIONS),
            pictures=PictureLimits(base64_bytes=5 << 20, side_px=(64, 2000), face_px=34),
            most_matches=100,
            thresholds={COMPARE: _COMPARISONS[comparison]},
            vocabulary=_WORDS,
            read_on="2026-11-20",
        )
        super().__init__(card, line, connection)

    def thresholds(self, operation: str, gallery_size: int = 0) -> Thresholds | None:
        if operation != SEARCH:
            return super().thresholds(operation, gallery_size)
        by_size = [scores for size, scores in _SEARCH_SCORES.items() if gallery_size <= size]
        return Thresholds(by_size[0]) if by_size else None

    def _ask(self, call: Call, action: str, value: Mapping[str, Any]) -> Any:
        body = json_body(value)

        def make() -> Request:
            signed = tc3_headers(self._connection.keys, "iai", self._host, _JSON, body, self._connection.now())
            named = {"x-tc-action": action, "x-tc-version": VERSION, "x-tc-region": self._region}
            return Request(action, headers={**signed, **named}, body=body)

        return self._exchange(call, make)["Response"]

    def _compare(self, call: Call, a: Picture, b: Picture) -> ServiceAnswer:
        asked: dict[str, Any] = {"ImageA": a.base64(), "ImageB": b.base64(), "QualityControl": 0}
        if self._comparison == "CompareFace":
            asked |= {"FaceModelVersion": _MODEL, "FaceMatchingStrategy": 1}  # the largest face, as elsewhere
        said = self._ask(call, self._comparison, asked)
        return ServiceAnswer(
            COMPARE, score=self._score(said["Score"]), model_version=str(said.get("FaceModelVersion") or "")
        )

    def _found(self, call: Call, gallery: str) -> ServiceAnswer:
        asked = {"GroupName": gallery, "GroupId": gallery, "FaceModelVersion": _MODEL}
        self._unless(call, "CreateGroup", asked, "InvalidParameterValue.GroupIdAlreadyExist")
        return ServiceAnswer(FOUND)

    def _enrol(self, call: Call, gallery: str, photos: Mapping[str, Picture]) -> ServiceAnswer:
        handles, outcomes = {}, {}
        for name, photo in photos.items():
            person = f"{gallery}-{name}"  # numbers of people are unique in the account, not in the group
            asked = {
                "GroupId": gallery,
                "PersonId": person,
                "PersonName": name,
                "Image": photo.base64(),
                "UniquePersonControl": 0,
                "QualityControl": 0,
            }
            try:
                self._unless(call, "CreatePerson", asked, "InvalidParameterValue.PersonIdAlreadyExist")
            except ComplaintError as problem:
                outcomes[name] = outcome_of(problem)
            else:
                outcomes[name], handles[name] = OK, person
        return ServiceAnswer(ENROL, handles=handles, outcomes=outcomes, model_version=_MODEL)

    def _search(self, call: Call, gallery: str, photo: Picture, k: int) -> ServiceAnswer:
        asked = {
            "GroupIds": [gallery],
            "Image": photo.base64(),
            "MaxPersonNum": k,
            "FaceMatchThreshold": 0,
            "QualityControl": 0,
        }
        try:
            said = self._ask(call, "SearchFaces", asked)
        except ComplaintError as problem:
            if problem.code != "InvalidParameterValue.NoFaceInGroups":
                raise
            return ServiceAnswer(SEARCH)
        result = said["Results"][0]
        if result.get("RetCode") == _LOW_QUALITY:
            return ServiceAnswer(SEARCH, BAD_PICTURE, "the quality of the face is too low")
        found = tuple(Match(str(one["PersonId"]), self._score(one["Score"])) for one in result["Candidates"])
        return ServiceAnswer(SEARCH, matches=found, model_version=str(said.get("FaceModelVersion") or ""))

    def _forget(self, call: Call, gallery: str) -> ServiceAnswer:
        self._unless(call, "DeleteGroup", {"GroupId": gallery}, "InvalidParameterValue.GroupIdNotExist")
        return ServiceAnswer(FORGET)

    def _leftovers(self, call: Call, prefix: str) -> Iterable[str]:
        offset, page = 0, [""]
        while page:
            said = self._ask(call, "GetGroupList", {"Offset": offset, "Limit": _PAGE})
            page = [str(one["GroupId"]) for one in said["GroupInfos"]]
            yield from page
            offset += _PAGE

    def _attributes(self, call: Call, photo: Picture) -> ServiceAnswer:
        asked = {
            "Image": photo.base64(),
            "MaxFaceNum": 1,
            "FaceAttributesType": ",".join((_AGE, _GENDER, _EMOTION)),
        }
        said = self._ask(call, "DetectFaceAttributes", asked)
        if not said["FaceDetailInfos"]:
            return no_face(ATTRIBUTES)
        found = said["FaceDetailInfos"][0]["FaceDetailAttributesInfo"]
        return ServiceAnswer(
            ATTRIBUTES,
            attributes={
                "gender": str(found[_GENDER]["Type"]),
                "age": finite(found[_AGE]),
                "expression": str(found[_EMOTION]["Type"]),
            },
            model_version=str(said.get("FaceModelVersion") or ""),
        )

    def _unless(self, call: Call, action: str, value: Mapping[str, Any], code: str) -> None:
        """Ask, and take one complaint for success: what is to be done is done already."""
        try:
            self._ask(call, action, value)
        except ComplaintError as problem:
            if problem.code != code:
                raise

    def _complaint(self, reply: Reply, body: Any) -> ComplaintError | None:
        said = body.get("Response", {}).get("Error") if isinstance(body, dict) else None
        if not said:
            return None
        code = str(said["Code"])
        status = next((meaning for start, meaning in _MEANINGS if code.startswith(start)), MALFORMED)
        hint = " (is the clock of this machine right?)" if code == "AuthFailure.SignatureExpire" else ""
        return ComplaintError(status, f"{code}: {said.get('Message', '')}{hint}", code)

    def _request_id(self, reply: Reply, body: Any) -> str:
        return str(body.get("Response", {}).get("RequestId", "")) if isinstance(body, dict) else ""
