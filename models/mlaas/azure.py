"""`Azure`: Azure AI Face, v1.0.

A comparison is three calls: each picture is exchanged for a face id, and two ids are verified. Ids, and so everything
about identity, need an approval that Microsoft gives to a few; without it the answer is a refusal that names the page
to apply at. Gender and emotion were retired, and age is for approved use, so no attributes are offered. A face list has
to be trained before it can be searched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from cloakbench.bench.core.status import OK
from cloakbench.models.mlaas.http_service import Call, ComplaintError, HttpService, outcome_of
from cloakbench.models.mlaas.line import ServiceLine
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
    QUOTA,
    REFUSED,
    SEARCH,
    SERVICE_FAILED,
    SETTLE,
    THROTTLED,
    Connection,
    Match,
    ServiceAnswer,
    Thresholds,
)

APPROVAL_PAGE = "https://aka.ms/facerecognition"
_DETECTION, _RECOGNITION = "detection_03", "recognition_04"
_JSON, _OCTETS = "application/json", "application/octet-stream"
_ID_SECONDS = 600
_TRAINING_SECONDS, _TRAINING_LOOKS = 1.0, 120
_PAGE = 1000


class Azure(HttpService):
    """Azure AI Face.

    Args:
        name: key of the service.
        line: how it is reached; the host is that of your resource.
        connection: of whoever asks.
    """

    def __init__(self, name: str, line: ServiceLine, connection: Connection) -> None:
        half = Thresholds(recommended=0.5)
        card = line.card(
            name=name,
            title="Azure AI Face",
            api_version=f"v1.0, {_DETECTION}, {_RECOGNITION}",
            operations=frozenset({COMPARE, SEARCH}),
            not_offered={ATTRIBUTES: "gender and emotion are retired, age is for approved use only"},
            pictures=PictureLimits(least_bytes=1 << 10, file_bytes=6 << 20, side_px=(36, 4096), face_px=36),
            most_matches=1000,
            requests_each={COMPARE: 3, SEARCH: 2},
            scale=(0.0, 1.0),
            thresholds={COMPARE: half, SEARCH: half},
            read_on="2026-11-20",
        )
        super().__init__(card, line, connection)

    def _ask(
        self,
        call: Call,
        path: str,
        *,
        method: str = "POST",
        query: Mapping[str, str] | None = None,
        value: Any = None,
        photo: Picture | None = None,
    ) -> Any:
        body = photo.content if photo is not None else b"" if value is None else json_body(value)
        headers = {
            "ocp-apim-subscription-key": self._connection.keys.key,
            "content-type": _JSON if photo is None else _OCTETS,
        }
        action = f"{method} {path.partition('/')[0]}"
        request = Request(action, f"/face/v1.0/{path}", query or {}, headers, body, method)
        return self._exchange(call, lambda: request)

    def _face(self, call: Call, photo: Picture) -> str:
        """The id of the largest face, which lives for some minutes.

        Raises:
            ComplaintError: there is none.
        """
        query = {
            "detectionModel": _DETECTION,
            "recognitionModel": _RECOGNITION,
            "returnFaceId": "true",
            "faceIdTimeToLive": str(_ID_SECONDS),
        }
        faces = self._ask(call, "detect", query=query, photo=photo)
        if not faces:
            raise ComplaintError(NO_FACE, "no face was found")
        sizes = [one["faceRectangle"]["width"] * one["faceRectangle"]["height"] for one in faces]
        return str(faces[sizes.index(max(sizes))]["faceId"])

    def _compare(self, call: Call, a: Picture, b: Picture) -> ServiceAnswer:
        ids = {"faceId1": self._face(call, a), "faceId2": self._face(call, b)}
        said = self._ask(call, "verify", value=ids)
        return ServiceAnswer(COMPARE, score=self._score(said["confidence"]), model_version=_RECOGNITION)

    def _found(self, call: Call, gallery: str) -> ServiceAnswer:
        value = {"name": gallery, "recognitionModel": _RECOGNITION}
        try:
            self._ask(call, _list(gallery), method="PUT", value=value)
        except ComplaintError as problem:
            if problem.code != "LargeFaceListExists":
                raise
        return ServiceAnswer(FOUND, model_version=_RECOGNITION)

    def _enrol(self, call: Call, gallery: str, photos: Mapping[str, Picture]) -> ServiceAnswer:
        handles, outcomes = {}, {}
        for name, photo in photos.items():
            query = {"detectionModel": _DETECTION, "userData": name}
            try:
                said = self._ask(call, f"{_list(gallery)}/persistedfaces", query=query, photo=photo)
            except ComplaintError as problem:
                outcomes[name] = outcome_of(problem)
            else:
                outcomes[name], handles[name] = OK, str(said["persistedFaceId"])
        return ServiceAnswer(ENROL, handles=handles, outcomes=outcomes, model_version=_RECOGNITION)

    def _settle(self, call: Call, gallery: str) -> ServiceAnswer:
        """Train the list, and wait until that is done."""
        self._ask(call, f"{_list(gallery)}/train")
        for _ in range(_TRAINING_LOOKS):
            said = self._ask(call, f"{_list(gallery)}/training", method="GET")
            if said["status"] == "succeeded":
                return ServiceAnswer(SETTLE)
            if said["status"] == "failed":
                raise ComplaintError(SERVICE_FAILED, f"the gallery was not trained: {said.get('message', '')}")
            self._connection.sleep(_TRAINING_SECONDS)
        raise ComplaintError(SERVICE_FAILED, "the gallery was not trained in two minutes")

    def _search(self, call: Call, gallery: str, photo: Picture, k: int) -> ServiceAnswer:
        value = {
            "faceId": self._face(call, photo),
            "largeFaceListId": gallery,
            "maxNumOfCandidatesReturned": k,
            "mode": "matchFace",
        }
        said = self._ask(call, "findsimilars", value=value)
        found = tuple(Match(str(one["persistedFaceId"]), self._score(one["confidence"])) for one in said)
        return ServiceAnswer(SEARCH, matches=found, model_version=_RECOGNITION)

    def _forget(self, call: Call, gallery: str) -> ServiceAnswer:
        try:
            self._ask(call, _list(gallery), method="DELETE")
        except ComplaintError as problem:
            if problem.code != "LargeFaceListNotFound":
                raise
        return ServiceAnswer(FORGET)

    def _leftovers(self, call: Call, prefix: str) -> Iterable[str]:
        start, full = "", True
        while full:
            query = {"start": start, "top": str(_PAGE)}
            page = [str(one["largeFaceListId"]) for one in self._ask(call, "largefacelists", method="GET", query=query)]
            yield from page
            full, start = len(page) == _PAGE, page[-1] if page else ""

    def _complaint(self, reply: Reply, body: Any) -> ComplaintError | None:
        said = body.get("error") if isinstance(body, dict) else None
        if reply.status < 400 or not isinstance(said, dict):
            return None
        inner = said.get("innererror") or {}
        code, text = str(inner.get("code") or said.get("code", "")), str(said.get("message", ""))
        note = f"{code}: {text}"
        if code == "UnsupportedFeature":
            return ComplaintError(REFUSED, f"{note}; approval is asked for at {APPROVAL_PAGE}", code)
        if reply.status == 403 and "quota" in text.lower():
            return ComplaintError(QUOTA, note, code)
        if code.startswith("InvalidImage"):
            return ComplaintError(NO_FACE if "No face" in text else BAD_PICTURE, note, code)
        by_status = {401: REFUSED, 403: REFUSED, 409: THROTTLED, 413: BAD_PICTURE, 429: THROTTLED}
        if code == "LargeFaceListExists":
            return ComplaintError(MALFORMED, note, code)
        server = SERVICE_FAILED if reply.status >= 500 else MALFORMED
        return ComplaintError(by_status.get(reply.status, server), note, code)

    def _request_id(self, reply: Reply, body: Any) -> str:
        return reply.headers.get("apim-request-id", "")


def _list(gallery: str) -> str:
    return f"largefacelists/{quote(gallery, safe='')}"
