"""`Baidu`: Baidu AI face, v3.

Every answer is HTTP 200 with an ``error_code``. Requests carry an access token that key and secret buy; when it is
refused a new one is bought once and the request repeated. Or they are signed (``bce-auth-v1``). The thresholds that the
API would apply by itself are set to none, as are its controls of quality and liveness, which would reject protected
photos for reasons other than identity. No false accept rates are published.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cloakbench.bench.core.ranges import one_of
from cloakbench.bench.core.status import OK
from cloakbench.models.mlaas.http_service import Call, ComplaintError, HttpService, finite, outcome_of
from cloakbench.models.mlaas.line import ServiceLine
from cloakbench.models.mlaas.signatures import bce_headers
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

_TOKEN_REFUSED = frozenset({100, 110, 111})
_GROUP_MISSING, _GROUP_EXISTS, _NOBODY_FOUND, _FACE_EXISTS = 223100, 223101, 222207, 223105
_MEANINGS = {
    2: SERVICE_FAILED,
    4: THROTTLED,
    18: THROTTLED,
    17: QUOTA,
    19: QUOTA,
    6: REFUSED,
    14: REFUSED,
    100: REFUSED,
    110: REFUSED,
    111: REFUSED,
    222013: BAD_PICTURE,
    222201: SERVICE_FAILED,
    222202: NO_FACE,
    222203: BAD_PICTURE,
    222205: SERVICE_FAILED,
    222206: SERVICE_FAILED,
    222302: SERVICE_FAILED,
    222901: SERVICE_FAILED,
    **dict.fromkeys(range(223112, 223117), BAD_PICTURE),  # covered, fuzzy, dark, incomplete
    **dict.fromkeys(range(223120, 223130), BAD_PICTURE),  # liveness and occlusion
}
_API = "/rest/2.0/face/v3"
_PAGE = 100
_WORDS = Vocabulary(
    gender={"male": "male", "female": "female"},
    expression={
        "neutral": "neutral",
        "happy": "happy",
        "surprise": "surprised",
        **dict.fromkeys(("angry", "disgust", "fear", "sad", "pouty", "grimace"), "negative"),
    },
)


class Baidu(HttpService):
    """Baidu AI face.

    Args:
        name: key of the service.
        line: how it is reached.
        connection: of whoever asks.
        authentication: ``token``, or ``bce`` for accounts whose calls are signed.
    """

    def __init__(self, name: str, line: ServiceLine, connection: Connection, authentication: str = "token") -> None:
        recommended = Thresholds(recommended=80.0)
        card = line.card(
            name=name,
            title="Baidu",
            api_version="v3",
            operations=frozenset(OPERATIONS),
            pictures=PictureLimits(base64_bytes=2 << 20, request_bytes=10 << 20, frame_px=(1920, 1080), face_px=80),
            most_matches=50,
            thresholds={COMPARE: recommended, SEARCH: recommended},
            vocabulary=_WORDS,
            read_on="2026-11-20",
        )
        super().__init__(card, line, connection)
        self._authentication = one_of("authentication", authentication, ("token", "bce"))
        self._token = ""
        self._buying = threading.Lock()

    def _ask(self, call: Call, path: str, value: Any) -> Any:
        """The ``result`` of a call, with a new token once where the old one is refused."""
        if self._authentication == "bce":
            return self._exchange(call, self._request(f"{_API}/{path}", value))["result"]
        token = self._token or self._buy(call, "")
        try:
            return self._exchange(call, self._request(f"{_API}/{path}", value, token))["result"]
        except ComplaintError as problem:
            if not problem.code.isdigit() or int(problem.code) not in _TOKEN_REFUSED:
                raise
        call.retries += 1
        token = self._buy(call, token)
        return self._exchange(call, self._request(f"{_API}/{path}", value, token))["result"]

    def _request(self, path: str, value: Any, token: str = "") -> Callable[[], Request]:
        body = json_body(value)

        def make() -> Request:
            headers, query = {"content-type": "application/json"}, {}
            if token:
                query = {"access_token": token}
            else:
                headers |= bce_headers(self._connection.keys, path, query, self._host, self._connection.now())
            return Request(path.rpartition("v3/")[2], path, query, headers, body)

        return make

    def _buy(self, call: Call, old: str) -> str:
        """A token other than ``old``; of several threads one buys it."""
        with self._buying:
            if self._token in ("", old):
                keys = self._connection.keys
                query = {"grant_type": "client_credentials", "client_id": keys.key, "client_secret": keys.secret}
                said = self._exchange(call, lambda: Request("token", "/oauth/2.0/token", query), kept=False)
                keys.issued(str(said["access_token"]))
                self._token = str(said["access_token"])
            return self._token

    def _compare(self, call: Call, a: Picture, b: Picture) -> ServiceAnswer:
        said = self._ask(call, "match", [_picture(a), _picture(b)])
        return ServiceAnswer(COMPARE, score=self._score(said["score"]))

    def _found(self, call: Call, gallery: str) -> ServiceAnswer:
        self._unless(call, "faceset/group/add", {"group_id": gallery}, _GROUP_EXISTS)
        return ServiceAnswer(FOUND)

    def _enrol(self, call: Call, gallery: str, photos: Mapping[str, Picture]) -> ServiceAnswer:
        handles, outcomes = {}, {}
        for name, photo in photos.items():
            person = {**_picture(photo), "group_id": gallery, "user_id": name}
            try:
                self._unless(call, "faceset/user/add", person, _FACE_EXISTS)
            except ComplaintError as problem:
                outcomes[name] = outcome_of(problem)
            else:
                outcomes[name], handles[name] = OK, name
        return ServiceAnswer(ENROL, handles=handles, outcomes=outcomes)

    def _search(self, call: Call, gallery: str, photo: Picture, k: int) -> ServiceAnswer:
        asked = {**_picture(photo), "group_id_list": gallery, "match_threshold": 0, "max_user_num": k}
        try:
            said = self._ask(call, "search", asked)
        except ComplaintError as problem:
            if problem.code != str(_NOBODY_FOUND):
                raise
            return ServiceAnswer(SEARCH)
        found = tuple(Match(str(one["user_id"]), self._score(one["score"])) for one in said["user_list"])
        return ServiceAnswer(SEARCH, matches=found)

    def _forget(self, call: Call, gallery: str) -> ServiceAnswer:
        self._unless(call, "faceset/group/delete", {"group_id": gallery}, _GROUP_MISSING)
        return ServiceAnswer(FORGET)

    def _leftovers(self, call: Call, prefix: str) -> Iterable[str]:
        start, page = 0, [""]
        while page:
            page = self._ask(call, "faceset/group/getlist", {"start": start, "length": _PAGE})["group_id_list"]
            yield from map(str, page)
            start += _PAGE

    def _attributes(self, call: Call, photo: Picture) -> ServiceAnswer:
        asked = {"image": photo.base64(), "image_type": "BASE64", "face_field": "age,gender,emotion"}
        face = self._ask(call, "detect", asked)["face_list"][0]
        return ServiceAnswer(
            ATTRIBUTES,
            attributes={
                "gender": str(face["gender"]["type"]),
                "age": finite(face["age"]),
                "expression": str(face["emotion"]["type"]),
            },
        )

    def _unless(self, call: Call, path: str, value: Any, code: int) -> None:
        """Ask, and take one complaint for success: what is to be done is done already."""
        try:
            self._ask(call, path, value)
        except ComplaintError as problem:
            if problem.code != str(code):
                raise

    def _complaint(self, reply: Reply, body: Any) -> ComplaintError | None:
        if not isinstance(body, dict):
            return None
        if "error" in body and "error_code" not in body:  # of the place where tokens are bought
            return ComplaintError(REFUSED, f"{body['error']}: {body.get('error_description', '')}", str(body["error"]))
        if not (code := body.get("error_code", 0)):
            return None
        return ComplaintError(_MEANINGS.get(code, MALFORMED), f"{code}: {body.get('error_msg', '')}", str(code))

    def _request_id(self, reply: Reply, body: Any) -> str:
        return str(body.get("log_id", "")) if isinstance(body, dict) else ""


def _picture(photo: Picture) -> dict[str, str]:
    return {
        "image": photo.base64(),
        "image_type": "BASE64",
        "quality_control": "NONE",
        "liveness_control": "NONE",
    }
