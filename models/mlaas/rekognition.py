"""`Rekognition`: AWS Rekognition, 2016-06-27.

JSON 1.1 with SigV4 signatures. The thresholds that the API applies by default (80) and its quality filter are set to
none, since what they drop has no score. The vendor publishes no false accept rates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cloakbench.bench.core.status import OK
from cloakbench.models.mlaas.http_service import Call, ComplaintError, HttpService, finite, no_face, outcome_of
from cloakbench.models.mlaas.line import ServiceLine
from cloakbench.models.mlaas.signatures import sigv4_headers
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
from cloakbench.models.vocabulary import NOTHING_SAID, Vocabulary

VERSION = "2016-06-27"
_JSON = "application/x-amz-json-1.1"
_INVALID = "InvalidParameterException"
_ABOUT_FACES = frozenset({"CompareFaces", "SearchFacesByImage"})
"""Operations whose only parameter that a picture decides is whether there is a face."""
_MEANINGS = {
    "ThrottlingException": THROTTLED,
    "ProvisionedThroughputExceededException": THROTTLED,
    "InternalServerError": SERVICE_FAILED,
    "ServiceUnavailableException": SERVICE_FAILED,
    "InvalidImageFormatException": BAD_PICTURE,
    "ImageTooLargeException": BAD_PICTURE,
    "AccessDeniedException": REFUSED,
    "ExpiredTokenException": REFUSED,
    "UnrecognizedClientException": REFUSED,
    "InvalidSignatureException": REFUSED,
    "ServiceQuotaExceededException": QUOTA,
    "LimitExceededException": QUOTA,
}
_WORDS = Vocabulary(
    gender={"Male": "male", "Female": "female"},
    expression={
        "CALM": "neutral",
        "HAPPY": "happy",
        "SURPRISED": "surprised",
        **dict.fromkeys(("SAD", "ANGRY", "CONFUSED", "DISGUSTED", "FEAR"), "negative"),
        "UNKNOWN": NOTHING_SAID,
    },
)


class Rekognition(HttpService):
    """AWS Rekognition.

    Args:
        name: key of the service.
        line: how it is reached; the region is part of the host.
        connection: of whoever asks.
        region: that requests are signed for.
    """

    def __init__(self, name: str, line: ServiceLine, connection: Connection, region: str = "us-east-1") -> None:
        self._region = region
        recommended = Thresholds(recommended=80.0)
        card = line.card(
            name=name,
            title="AWS Rekognition",
            api_version=VERSION,
            operations=frozenset(OPERATIONS),
            pictures=PictureLimits(file_bytes=5 << 20, side_px=(80, 1 << 15), face_px=40),
            most_matches=4096,
            thresholds={COMPARE: recommended, SEARCH: recommended},
            vocabulary=_WORDS,
            read_on="2026-11-20",
        )
        super().__init__(card, line, connection)

    def _ask(self, call: Call, action: str, value: Mapping[str, Any]) -> Any:
        body = json_body(value)
        named = {"content-type": _JSON, "x-amz-target": f"RekognitionService.{action}"}

        def make() -> Request:
            keys, now = self._connection.keys, self._connection.now()
            headers = sigv4_headers(keys, self._region, "rekognition", self._host, named, body, now)
            return Request(action, headers=headers, body=body)

        try:
            return self._exchange(call, make)
        except ComplaintError as problem:
            if problem.code == _INVALID and (action in _ABOUT_FACES or "face" in problem.note.lower()):
                raise ComplaintError(NO_FACE, problem.note, problem.code) from None
            raise

    def _compare(self, call: Call, a: Picture, b: Picture) -> ServiceAnswer:
        asked = {
            "SourceImage": _picture(a),
            "TargetImage": _picture(b),
            "SimilarityThreshold": 0,
            "QualityFilter": "NONE",
        }
        said = self._ask(call, "CompareFaces", asked)
        if not said["FaceMatches"]:
            if said.get("UnmatchedFaces"):
                raise ComplaintError(MALFORMED, "faces without a similarity, though every similarity was asked for")
            return no_face(COMPARE)
        return ServiceAnswer(COMPARE, score=max(self._score(one["Similarity"]) for one in said["FaceMatches"]))

    def _found(self, call: Call, gallery: str) -> ServiceAnswer:
        said = self._unless(call, "CreateCollection", {"CollectionId": gallery}, "ResourceAlreadyExistsException")
        return ServiceAnswer(FOUND, model_version=str(said.get("FaceModelVersion", "")))

    def _enrol(self, call: Call, gallery: str, photos: Mapping[str, Picture]) -> ServiceAnswer:
        handles, outcomes, version = {}, {}, ""
        for name, photo in photos.items():
            asked = {
                "CollectionId": gallery,
                "Image": _picture(photo),
                "ExternalImageId": name,
                "MaxFaces": 1,
                "QualityFilter": "NONE",
            }
            try:
                said = self._ask(call, "IndexFaces", asked)
            except ComplaintError as problem:
                outcomes[name] = outcome_of(problem)
                continue
            version = str(said.get("FaceModelVersion", ""))
            outcomes[name] = OK if said["FaceRecords"] else NO_FACE
            if said["FaceRecords"]:
                handles[name] = name
        return ServiceAnswer(ENROL, handles=handles, outcomes=outcomes, model_version=version)

    def _search(self, call: Call, gallery: str, photo: Picture, k: int) -> ServiceAnswer:
        asked = {
            "CollectionId": gallery,
            "Image": _picture(photo),
            "MaxFaces": k,
            "FaceMatchThreshold": 0,
            "QualityFilter": "NONE",
        }
        said = self._ask(call, "SearchFacesByImage", asked)
        found = tuple(
            Match(str(one["Face"]["ExternalImageId"]), self._score(one["Similarity"])) for one in said["FaceMatches"]
        )
        return ServiceAnswer(SEARCH, matches=found, model_version=str(said.get("FaceModelVersion", "")))

    def _forget(self, call: Call, gallery: str) -> ServiceAnswer:
        self._unless(call, "DeleteCollection", {"CollectionId": gallery}, "ResourceNotFoundException")
        return ServiceAnswer(FORGET)

    def _leftovers(self, call: Call, prefix: str) -> Iterable[str]:
        asked: dict[str, Any] = {}
        while True:
            said = self._ask(call, "ListCollections", asked)
            yield from map(str, said["CollectionIds"])
            if not said.get("NextToken"):
                return
            asked = {"NextToken": said["NextToken"]}

    def _attributes(self, call: Call, photo: Picture) -> ServiceAnswer:
        said = self._ask(call, "DetectFaces", {"Image": _picture(photo), "Attributes": ["ALL"]})
        if not said["FaceDetails"]:
            return no_face(ATTRIBUTES)
        face = said["FaceDetails"][0]
        emotion = max(face["Emotions"], key=lambda one: finite(one["Confidence"]))
        return ServiceAnswer(
            ATTRIBUTES,
            attributes={
                "gender": str(face["Gender"]["Value"]),
                "age": (finite(face["AgeRange"]["Low"]), finite(face["AgeRange"]["High"])),
                "expression": str(emotion["Type"]),
            },
        )

    def _unless(self, call: Call, action: str, value: Mapping[str, Any], code: str) -> Any:
        """Ask, and take one complaint for success: what is to be done is done already."""
        try:
            return self._ask(call, action, value)
        except ComplaintError as problem:
            if problem.code != code:
                raise
            return {}

    def _complaint(self, reply: Reply, body: Any) -> ComplaintError | None:
        if reply.status < 400 or not isinstance(body, dict) or "__type" not in body:
            return None
        code = str(body["__type"]).rpartition("#")[2]
        said = str(body.get("message") or body.get("Message") or "")
        hint = " (is the clock of this machine right?)" if "expired" in said or "not yet current" in said else ""
        return ComplaintError(_MEANINGS.get(code, MALFORMED), f"{code}: {said}{hint}", code)

    def _request_id(self, reply: Reply, body: Any) -> str:
        return reply.headers.get("x-amzn-requestid", "")


def _picture(photo: Picture) -> dict[str, str]:
    return {"Bytes": photo.base64()}
