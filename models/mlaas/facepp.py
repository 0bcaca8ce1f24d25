"""`FacePlusPlus`: Face++ of Megvii, API v3.

Key and secret travel as fields of the form; there is no signature. Each answer to a comparison or a search carries the
thresholds it is to be held against, which the vendor changes and which belong to that answer alone. Photos go as files
of a multipart form, since the whole request may have 2 MB and base64 would take a third of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cloakbench.bench.core.status import OK
from cloakbench.models.mlaas.http_service import Call, ComplaintError, HttpService, finite, no_face
from cloakbench.models.mlaas.line import ServiceLine
from cloakbench.models.mlaas.wire import Reply, Request, multipart
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

_MEANINGS = {
    "AUTHENTICATION_ERROR": REFUSED,
    "AUTHORIZATION_ERROR": REFUSED,
    "INSUFFICIENT_PERMISSION": REFUSED,
    "CONCURRENCY_LIMIT_EXCEEDED": THROTTLED,
    "IMAGE_ERROR_UNSUPPORTED_FORMAT": BAD_PICTURE,
    "INVALID_IMAGE_SIZE": BAD_PICTURE,
    "IMAGE_FILE_TOO_LARGE": BAD_PICTURE,
    "IMAGE_DOWNLOAD_TIMEOUT": SERVICE_FAILED,
    "INTERNAL_ERROR": SERVICE_FAILED,
}
_FACES_AN_ADD = 5
_WORDS = Vocabulary(
    gender={"Male": "male", "Female": "female"},
    expression={
        "neutral": "neutral",
        "happiness": "happy",
        "surprise": "surprised",
        **dict.fromkeys(("anger", "disgust", "fear", "sadness"), "negative"),
    },
)


class FacePlusPlus(HttpService):
    """Face++.

    Args:
        name: key of the service.
        line: the host is that of the console that the keys belong to: ``api-us`` or ``api-cn``.
        connection: of whoever asks.
    """

    def __init__(self, name: str, line: ServiceLine, connection: Connection) -> None:
        card = line.card(
            name=name,
            title="Face++",
            api_version="v3",
            operations=frozenset(OPERATIONS),
            pictures=PictureLimits(
                file_bytes=2 << 20,
                request_bytes=2 << 20,
                side_px=(48, 4096),
                face_px=48,
                operation_face_px={COMPARE: 150, SEARCH: 150},
            ),
            most_matches=5,
            enrol_most=_FACES_AN_ADD,
            requests_each={ENROL: 1 + 1 / _FACES_AN_ADD},
            thresholds={COMPARE: Thresholds(source="answer")},
            vocabulary=_WORDS,
            read_on="2026-11-20",
        )
        super().__init__(card, line, connection)

    def _ask(self, call: Call, path: str, fields: Mapping[str, str], **pictures: Picture) -> Any:
        keys = self._connection.keys
        given = {"api_key": keys.key, "api_secret": keys.secret, **fields}
        files = {field: (f"{field}.{one.kind}", one.content) for field, one in pictures.items()}
        kind, body = multipart(given, files)
        return self._exchange(call, lambda: Request(path, f"/facepp/v3/{path}", {}, {"content-type": kind}, body))

    def _compare(self, call: Call, a: Picture, b: Picture) -> ServiceAnswer:
        said = self._ask(call, "compare", {}, image_file1=a, image_file2=b)
        if "confidence" not in said and not (said["faces1"] and said["faces2"]):
            return no_face(COMPARE)
        return ServiceAnswer(COMPARE, score=self._score(said["confidence"]), thresholds=_thresholds(said))

    def _found(self, call: Call, gallery: str) -> ServiceAnswer:
        try:
            self._ask(call, "faceset/create", {"outer_id": gallery, "display_name": gallery})
        except ComplaintError as problem:
            if problem.code != "FACESET_EXIST":
                raise
        return ServiceAnswer(FOUND)

    def _enrol(self, call: Call, gallery: str, photos: Mapping[str, Picture]) -> ServiceAnswer:
        handles, outcomes = {}, {}
        for name, photo in photos.items():
            try:
                faces = self._ask(call, "detect", {}, image_file=photo)["faces"]
            except ComplaintError as problem:
                if problem.status != BAD_PICTURE:
                    raise
                outcomes[name] = BAD_PICTURE
                continue
            outcomes[name] = OK if faces else NO_FACE
            if faces:
                handles[name] = str(faces[0]["face_token"])
        if handles:
            said = self._ask(call, "faceset/addface", {"outer_id": gallery, "face_tokens": ",".join(handles.values())})
            failed = {one["face_token"]: one["reason"] for one in said.get("failure_detail", [])}
            if failed:
                raise ComplaintError(SERVICE_FAILED, f"faces were not added: {sorted(set(failed.values()))}")
        return ServiceAnswer(ENROL, handles=handles, outcomes=outcomes)

    def _search(self, call: Call, gallery: str, photo: Picture, k: int) -> ServiceAnswer:
        fields = {"outer_id": gallery, "return_result_count": str(k)}
        try:
            said = self._ask(call, "search", fields, image_file=photo)
        except ComplaintError as problem:
            if problem.code != "EMPTY_FACESET":
                raise
            return ServiceAnswer(SEARCH)
        if not said["faces"]:
            return no_face(SEARCH)
        found = tuple(Match(str(one["face_token"]), self._score(one["confidence"])) for one in said["results"])
        return ServiceAnswer(SEARCH, matches=found, thresholds=_thresholds(said))

    def _forget(self, call: Call, gallery: str) -> ServiceAnswer:
        try:
            self._ask(call, "faceset/delete", {"outer_id": gallery, "check_empty": "0"})
        except ComplaintError as problem:
            if problem.code != "INVALID_OUTER_ID":
                raise
        return ServiceAnswer(FORGET)

    def _leftovers(self, call: Call, prefix: str) -> Iterable[str]:
        start = "1"
        while start:
            said = self._ask(call, "faceset/getfacesets", {"start": start})
            yield from (str(one.get("outer_id") or "") for one in said["facesets"])
            start = str(said.get("next") or "")

    def _attributes(self, call: Call, photo: Picture) -> ServiceAnswer:
        said = self._ask(call, "detect", {"return_attributes": "gender,age,emotion"}, image_file=photo)
        if not said["faces"]:
            return no_face(ATTRIBUTES)
        found = said["faces"][0]["attributes"]
        emotions = {str(word): finite(share) for word, share in found["emotion"].items()}
        return ServiceAnswer(
            ATTRIBUTES,
            attributes={
                "gender": str(found["gender"]["value"]),
                "age": finite(found["age"]["value"]),
                "expression": max(emotions, key=lambda word: emotions[word]),
            },
        )

    def _complaint(self, reply: Reply, body: Any) -> ComplaintError | None:
        said = body.get("error_message") if isinstance(body, dict) else None
        if not said:
            return None
        code, _, detail = str(said).partition(":")
        if code == "AUTHORIZATION_ERROR" and "Insufficient Account Balance" in detail:
            return ComplaintError(QUOTA, str(said), code)
        return ComplaintError(_MEANINGS.get(code, MALFORMED), str(said), code)

    def _request_id(self, reply: Reply, body: Any) -> str:
        return str(body.get("request_id", "")) if isinstance(body, dict) else ""


def _thresholds(said: Mapping[str, Any]) -> Thresholds:
    """Those of this very answer."""
    return Thresholds({float(far): finite(score) for far, score in said["thresholds"].items()}, source="answer")
