"""Baidu AI face v3, as its documentation describes it: always HTTP 200, tokens that expire, or signatures."""

from __future__ import annotations

import base64
import binascii
import time
from calendar import timegm
from typing import Any
from urllib.parse import quote

from emulators.pixels import NoPictureError, has_face, looks, opened
from emulators.server import Asked, Emulator, Said, hmac_chain

_BASE64_BYTES = 2 << 20


class _ProblemError(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class BaiduEmulator(Emulator):
    """Tokens for key and secret, default threshold 80 in searches, groups of users.

    Attributes:
        tokens: that are valid.
        groups: users with their pictures.
        controls: values of ``quality_control`` and ``liveness_control`` that were asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tokens: list[str] = []
        self.groups: dict[str, dict[str, list[bytes]]] = {}
        self.controls: set[str] = set()
        self.sold = 0

    def action(self, asked: Asked) -> str:
        return "token" if asked.path == "/oauth/2.0/token" else asked.path.removeprefix("/rest/2.0/face/v3/")

    def vendor_fault(self, fault: str) -> Said:
        if fault == "expired":
            self.tokens.clear()
        codes = {
            "throttle": (18, "Open api qps request limit reached"),
            "quota": (17, "Open api daily request limit reached"),
            "total_quota": (19, "Open api total request limit reached"),
            "expired": (111, "Access token expired"),
            "busy": (222901, "system busy"),
            "forbidden": (6, "No permission to access data"),
        }
        code, message = codes[fault]
        return Said({"error_code": code, "error_msg": message})  # early failures have nothing else

    def respond(self, asked: Asked) -> Said:
        if asked.path == "/oauth/2.0/token":
            return self._token(asked)
        try:
            self._check_access(asked)
            value = asked.json()
            done = getattr(self, "_" + self.action(asked).replace("/", "_"), None)
            if done is None:
                raise _ProblemError(3, "Unsupported openapi method")
            return _said(0, "SUCCESS", done(value))
        except _ProblemError as problem:
            if problem.code < 1000:
                return Said({"error_code": problem.code, "error_msg": problem.message})
            return _said(problem.code, problem.message, None)

    def _token(self, asked: Asked) -> Said:
        if asked.query.get("client_id") != self.key or asked.query.get("client_secret") != self.secret:
            return Said({"error": "invalid_client", "error_description": "unknown client id"}, 401)
        self.sold += 1
        token = f"24.emulated-access-token-{self.sold:04d}"
        self.tokens.append(token)
        return Said({"access_token": token, "expires_in": 2592000, "scope": "public brain_all_scope"})

    def _check_access(self, asked: Asked) -> None:
        if "authorization" not in asked.headers:
            if asked.query.get("access_token") not in self.tokens:
                raise _ProblemError(110, "Access token invalid or no longer valid")
            return
        version, key, stamp, seconds, names, signature = asked.headers["authorization"].split("/")
        age = time.time() - timegm(time.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ"))
        lines = "\n".join(f"{name}:{quote(asked.headers[name], safe='')}" for name in names.split(";"))
        signing = hmac_chain(self.secret.encode(), f"{version}/{key}/{stamp}/{seconds}").hex()
        right = hmac_chain(signing.encode(), f"{asked.method}\n{asked.path}\n\n{lines}").hex()
        wanted = {"host", "x-bce-date"}
        if key != self.key or signature != right or not wanted <= set(names.split(";")) or abs(age) > int(seconds):
            raise _ProblemError(14, "IAM Certification failed")

    def _picture(self, value: Any) -> bytes:
        if value.get("image_type") != "BASE64":
            raise _ProblemError(222001, "image_type is illegal")
        self.controls |= {value.get("quality_control", ""), value.get("liveness_control", "")}
        if len(value["image"]) > _BASE64_BYTES:
            raise _ProblemError(222203, "image check fail")
        try:
            content = base64.b64decode(value["image"], validate=True)
            width, height = opened(content).size
        except (binascii.Error, NoPictureError):
            raise _ProblemError(222013, "param[image] format error") from None
        if width > 1920 or height > 1080:
            raise _ProblemError(222203, "image check fail")
        if not has_face(content):
            raise _ProblemError(222202, "pic not has face")
        return content

    def _match(self, value: Any) -> Any:
        if not isinstance(value, list) or len(value) != 2:
            raise _ProblemError(222208, "the number of image is incorrect")
        a, b = map(self._picture, value)
        return {"score": round(100 * self.score(a, b), 6), "face_list": [{"face_token": "a"}, {"face_token": "b"}]}

    def _detect(self, value: Any) -> Any:
        female, age, smiling = looks(self._picture(value))
        fields = set(value.get("face_field", "").split(","))
        found = {
            "age": age,
            "gender": {"type": "female" if female else "male", "probability": 1},
            "emotion": {"type": "happy" if smiling else "neutral", "probability": 1},
        }
        face = {"face_token": "a", "face_probability": 1}
        return {"face_num": 1, "face_list": [face | {name: one for name, one in found.items() if name in fields}]}

    def _search(self, value: Any) -> Any:
        content = self._picture(value)
        most, least = int(value.get("max_user_num", 1)), float(value.get("match_threshold", 80))
        if not 1 <= most <= 50:
            raise _ProblemError(222001, "max_user_num is illegal")
        found = []
        for group in value["group_id_list"].split(","):
            for user, pictures in self._group(group).items():
                score = max(100 * self.score(content, one) for one in pictures)
                found.append({"group_id": group, "user_id": user, "user_info": "", "score": round(score, 6)})
        kept = sorted((one for one in found if one["score"] >= least), key=lambda one: (-one["score"], one["user_id"]))
        if not kept:
            raise _ProblemError(222207, "match user is not found")
        return {"face_token": "a", "user_list": kept[:most]}

    def _group(self, name: str) -> dict[str, list[bytes]]:
        if name not in self.groups:
            raise _ProblemError(223100, "group is not exist")
        return self.groups[name]

    def _faceset_group_add(self, value: Any) -> None:
        if value["group_id"] in self.groups:
            raise _ProblemError(223101, "group is already exist")
        self.groups[value["group_id"]] = {}

    def _faceset_group_delete(self, value: Any) -> None:
        self._group(value["group_id"])
        del self.groups[value["group_id"]]

    def _faceset_group_getlist(self, value: Any) -> Any:
        start, length = int(value.get("start", 0)), int(value.get("length", 100))
        return {"group_id_list": list(self.groups)[start : start + length]}

    def _faceset_user_add(self, value: Any) -> Any:
        content = self._picture(value)
        pictures = self._group(value["group_id"]).setdefault(value["user_id"], [])
        if content in pictures:
            raise _ProblemError(223105, "face is already exist")
        pictures.append(content)
        return {"face_token": "a", "location": {}}


def _said(code: int, message: str, result: Any) -> Said:
    return Said(
        {
            "error_code": code,
            "error_msg": message,
            "log_id": 747956984,
            "timestamp": int(time.time()),
            "cached": 0,
            "result": result,
        }
    )
