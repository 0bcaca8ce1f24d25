"""`LocalService`: networks on this machine behind real HTTP, as `cloakbench serve` offers them.

It is asked as any other service is, and nothing leaves the machine: so it needs nobody's consent and no key, unless
whoever serves wants one. The interface is JSON with pictures in base64; `docs/services.md` describes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from cloakbench.bench.core.ranges import SettingError, at_least
from cloakbench.bench.core.status import OK
from cloakbench.models.mlaas.http_service import Call, ComplaintError, HttpService, finite, no_face
from cloakbench.models.mlaas.line import ServiceLine
from cloakbench.models.mlaas.wire import Reply, Request, is_local, json_body
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
    NOT_OFFERED,
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
from cloakbench.models.vocabulary import Reading, Vocabulary

API = "1"
"""Version of the interface; what is served has a longer one, with a digest of the networks and settings."""
PICTURES = PictureLimits(file_bytes=4 << 20, request_bytes=32 << 20, side_px=(16, 4096))
FACES_AN_ADD = 5
MOST_MATCHES = 1000

_MEANINGS = {
    "bad_picture": BAD_PICTURE,
    "too_large": BAD_PICTURE,
    "failed": SERVICE_FAILED,
    "not_offered": NOT_OFFERED,
    "other_version": REFUSED,
    "quota": QUOTA,
    "throttled": THROTTLED,
    "wrong_key": REFUSED,
}
_WORDS = Vocabulary(
    gender={
        **dict.fromkeys(("male", "man", "masculine"), "male"),
        **dict.fromkeys(("female", "woman", "feminine"), "female"),
    },
    expression={
        **dict.fromkeys(("neutral", "calm"), "neutral"),
        **dict.fromkeys(("happy", "happiness", "smile"), "happy"),
        **dict.fromkeys(("surprised", "surprise"), "surprised"),
        **dict.fromkeys(("negative", "sad", "sadness", "angry", "anger", "contempt"), "negative"),
        **dict.fromkeys(("disgusted", "disgust", "fearful", "fear"), "negative"),
    },
)
"""What classes of networks are called; attributes beside gender, age and expression are passed on as they are."""


class LocalService(HttpService):
    """The local service.

    Args:
        name: key of the service.
        line: where it listens; an address of this machine.
        connection: of whoever asks; its key is sent where there is one.
        api_version: that of what is served, which `cloakbench serve` prints: another one is refused, and stored answers
            of one are never taken for those of another. ``1`` takes whatever is served.
        smallest_face_px: the smallest face that is sent, as it is set on the other side.

    Raises:
        SettingError: a setting is out of range, or the address is of another machine.
    """

    def __init__(
        self,
        name: str,
        line: ServiceLine,
        connection: Connection,
        api_version: str = API,
        smallest_face_px: float = 0.0,
    ) -> None:
        if not is_local(line.base_url):
            raise SettingError(
                "line.base_url", line.base_url, "an address of this machine, such as http://127.0.0.1:8700"
            )
        card = line.card(
            name=name,
            title="local service",
            api_version=str(api_version),
            operations=frozenset(OPERATIONS),
            pictures=replace(PICTURES, face_px=at_least("smallest_face_px", smallest_face_px)),
            most_matches=MOST_MATCHES,
            enrol_most=FACES_AN_ADD,
            requests_each={ENROL: 1 / FACES_AN_ADD},
            thresholds={COMPARE: Thresholds(source="answer")},
            vocabulary=_WORDS,
            read_on="2026-11-27",
        )
        super().__init__(card, line, connection)

    def _ask(self, call: Call, action: str, path: str, value: Any = None, method: str = "POST") -> Any:
        headers = {"content-type": "application/json"}
        if key := self._connection.keys.key:
            headers["authorization"] = f"Bearer {key}"
        if self.card.api_version != API:
            headers["x-api-version"] = self.card.api_version
        body = b"" if value is None else json_body(value)
        return self._exchange(call, lambda: Request(action, f"/v{API}/{path}", {}, headers, body, method))

    def _compare(self, call: Call, a: Picture, b: Picture) -> ServiceAnswer:
        said = self._ask(call, COMPARE, COMPARE, {"a": a.base64(), "b": b.base64()})
        if min(said["faces"]) < 1:
            return no_face(COMPARE)
        return ServiceAnswer(
            COMPARE,
            score=self._score(said["score"]),
            thresholds=_thresholds(said),
            model_version=str(said["model_version"]),
        )

    def _found(self, call: Call, gallery: str) -> ServiceAnswer:
        self._ask(call, FOUND, _gallery(gallery), method="PUT")
        return ServiceAnswer(FOUND)

    def _enrol(self, call: Call, gallery: str, photos: Mapping[str, Picture]) -> ServiceAnswer:
        pictures = {name: photo.base64() for name, photo in photos.items()}
        said = self._ask(call, ENROL, f"{_gallery(gallery)}/faces", {"pictures": pictures})["faces"]
        outcomes = {name: str(said[name]["status"]) for name in photos}
        if set(outcomes.values()) - {OK, NO_FACE, BAD_PICTURE}:
            raise ComplaintError(MALFORMED, f"faces have the states {sorted(set(outcomes.values()))}")
        handles = {name: str(said[name]["face"]) for name, outcome in outcomes.items() if outcome == OK}
        return ServiceAnswer(ENROL, handles=handles, outcomes=outcomes)

    def _search(self, call: Call, gallery: str, photo: Picture, k: int) -> ServiceAnswer:
        said = self._ask(call, SEARCH, f"{_gallery(gallery)}/search", {"picture": photo.base64(), "k": k})
        if said["faces"] < 1:
            return no_face(SEARCH)
        return ServiceAnswer(
            SEARCH,
            matches=tuple(Match(str(one["face"]), self._score(one["score"])) for one in said["matches"]),
            thresholds=_thresholds(said),
            model_version=str(said["model_version"]),
        )

    def _forget(self, call: Call, gallery: str) -> ServiceAnswer:
        self._ask(call, FORGET, _gallery(gallery), method="DELETE")
        return ServiceAnswer(FORGET)

    def _leftovers(self, call: Call, prefix: str) -> Iterable[str]:
        return [str(name) for name in self._ask(call, "galleries", "galleries", method="GET")["galleries"]]

    def _attributes(self, call: Call, photo: Picture) -> ServiceAnswer:
        said = self._ask(call, ATTRIBUTES, ATTRIBUTES, {"picture": photo.base64()})
        if said["faces"] < 1:
            return no_face(ATTRIBUTES)
        readings = {str(name): _reading(one) for name, one in said["attributes"].items()}
        return ServiceAnswer(ATTRIBUTES, attributes=readings, model_version=str(said["model_version"]))

    def _complaint(self, reply: Reply, body: Any) -> ComplaintError | None:
        error = body.get("error") if isinstance(body, dict) else None
        if not isinstance(error, dict):
            return None
        code = str(error["code"])
        return ComplaintError(_MEANINGS.get(code, MALFORMED), str(error["message"]), code)

    def _request_id(self, reply: Reply, body: Any) -> str:
        return str(body.get("request_id", "")) if isinstance(body, dict) else ""


def _gallery(name: str) -> str:
    return f"galleries/{quote(name, safe='')}"


def _reading(said: Mapping[str, Any]) -> Reading:
    return finite(said["value"]) if "value" in said else str(said["class"])


def _thresholds(said: Mapping[str, Any]) -> Thresholds | None:
    """Those of this very answer; None where the networks were not calibrated."""
    found = {float(far): finite(score) for far, score in said["thresholds"].items()}
    return Thresholds(found, source="answer") if found else None
