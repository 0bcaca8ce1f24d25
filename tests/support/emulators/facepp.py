"""Face++ v3, as its documentation describes it."""

from __future__ import annotations

from typing import Any

from emulators.pixels import NoPictureError, box, has_face, looks, opened
from emulators.server import Asked, Emulator, Said, multipart_form


class FaceppEmulator(Emulator):
    """Keys in the form, five faces an add, five results a search, thresholds with each answer.

    Attributes:
        thresholds: of the next answers.
        sets: face sets by ``outer_id``: tokens in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.thresholds = {"1e-3": 62.327, "1e-4": 69.101, "1e-5": 73.975}
        self.sets: dict[str, list[str]] = {}
        self.faces: dict[str, bytes] = {}

    def action(self, asked: Asked) -> str:
        return asked.path.removeprefix("/facepp/v3/")

    def vendor_fault(self, fault: str) -> Said:
        return {
            "throttle": _error(403, "CONCURRENCY_LIMIT_EXCEEDED"),
            "quota": _error(403, "AUTHORIZATION_ERROR:Insufficient Account Balance"),
            "denied": _error(403, "AUTHORIZATION_ERROR:Denied by Admin"),
            "too_large": Said(b"Request Entity Too Large", 413, "text/plain"),
        }[fault]

    def respond(self, asked: Asked) -> Said:
        if len(asked.body) > 2 << 20:
            return Said(b"Request Entity Too Large", 413, "text/plain")
        fields, files = multipart_form(asked)
        if fields.get("api_key") != self.key or fields.get("api_secret") != self.secret:
            return _error(401, "AUTHENTICATION_ERROR")
        for name, content in files.items():
            try:
                sides = opened(content).size
            except NoPictureError:
                return _error(400, f"IMAGE_ERROR_UNSUPPORTED_FORMAT:{name}")
            if min(sides) < 48 or max(sides) > 4096:
                return _error(400, f"INVALID_IMAGE_SIZE:{name}")
        action = self.action(asked)
        done = getattr(self, "_" + action.replace("/", "_"), None)
        return done(fields, files) if done else _error(404, "API_NOT_FOUND")

    def _compare(self, fields: dict[str, str], files: dict[str, bytes]) -> Said:
        if set(files) != {"image_file1", "image_file2"}:
            return _error(400, "MISSING_ARGUMENTS:image_file1")
        a, b = files["image_file1"], files["image_file2"]
        faces = {"faces1": self._detected(a, 150), "faces2": self._detected(b, 150)}
        if not all(faces.values()):
            return _fine(faces)
        return _fine({**faces, "confidence": round(100 * self.score(a, b), 3), "thresholds": self.thresholds})

    def _detect(self, fields: dict[str, str], files: dict[str, bytes]) -> Said:
        content = files["image_file"]
        faces = self._detected(content, 48)
        asked = set(filter(None, fields.get("return_attributes", "").split(",")))
        for face in faces if asked else ():
            female, age, smiling = looks(content)
            emotion = dict.fromkeys(("anger", "disgust", "fear", "sadness", "surprise"), 0.5)
            emotion |= {"happiness": 90.0, "neutral": 7.5} if smiling else {"happiness": 7.5, "neutral": 90.0}
            said = {
                "gender": {"value": "Female" if female else "Male"},
                "age": {"value": age},
                "emotion": emotion,
            }
            face["attributes"] = {name: value for name, value in said.items() if name in asked}
        return _fine({"faces": faces})

    def _detected(self, content: bytes, least_px: int) -> list[dict[str, Any]]:
        left, top, width, height = box(content)
        if not has_face(content) or min(width, height) < least_px:
            return []
        token = f"token{len(self.faces):06d}"  # two for two detections of one picture
        self.faces[token] = content
        rectangle = {"top": top, "left": left, "width": width, "height": height}
        return [{"face_token": token, "face_rectangle": rectangle}]

    def _search(self, fields: dict[str, str], files: dict[str, bytes]) -> Said:
        known = self.sets.get(fields.get("outer_id", ""))
        if known is None:
            return _error(400, "INVALID_OUTER_ID")
        if not known:
            return _error(400, "EMPTY_FACESET")
        if not 1 <= (count := int(fields.get("return_result_count", "1"))) <= 5:
            return _error(400, "BAD_ARGUMENTS:return_result_count")
        content = files["image_file"]
        if not (faces := self._detected(content, 150)):
            return _fine({"faces": []})
        scores = [(round(100 * self.score(content, self.faces[one]), 3), one) for one in known]
        best = sorted(scores, key=lambda one: (-one[0], one[1]))[:count]
        results = [{"confidence": score, "face_token": token, "user_id": ""} for score, token in best]
        return _fine({"faces": faces, "results": results, "thresholds": self.thresholds})

    def _faceset_create(self, fields: dict[str, str], files: dict[str, bytes]) -> Said:
        if fields["outer_id"] in self.sets:
            return _error(400, "FACESET_EXIST")
        self.sets[fields["outer_id"]] = []
        return _fine({"outer_id": fields["outer_id"], "face_added": 0})

    def _faceset_addface(self, fields: dict[str, str], files: dict[str, bytes]) -> Said:
        tokens = fields["face_tokens"].split(",")
        if fields["outer_id"] not in self.sets:
            return _error(400, "INVALID_OUTER_ID")
        if len(tokens) > 5:
            return _error(400, "BAD_ARGUMENTS:face_tokens")
        failed = [{"reason": "INVALID_FACE_TOKEN", "face_token": one} for one in tokens if one not in self.faces]
        known = self.sets[fields["outer_id"]]
        known += [one for one in tokens if one in self.faces and one not in known]
        return _fine({"face_added": len(tokens) - len(failed), "failure_detail": failed})

    def _faceset_delete(self, fields: dict[str, str], files: dict[str, bytes]) -> Said:
        known = self.sets.get(fields["outer_id"])
        if known is None:
            return _error(400, "INVALID_OUTER_ID")
        if known and fields.get("check_empty", "1") == "1":
            return _error(400, "FACESET_NOT_EMPTY")
        del self.sets[fields["outer_id"]]
        return _fine({"outer_id": fields["outer_id"]})

    def _faceset_getfacesets(self, fields: dict[str, str], files: dict[str, bytes]) -> Said:
        names, start = list(self.sets), int(fields.get("start", "1"))
        said: dict[str, Any] = {"facesets": [{"outer_id": one} for one in names[start - 1 : start + 99]]}
        if len(names) >= start + 100:
            said["next"] = str(start + 100)
        return _fine(said)


def _fine(value: dict[str, Any]) -> Said:
    return Said({"request_id": "1470472868,dacf2ff1", "time_used": 3, **value})


def _error(status: int, message: str) -> Said:
    return Said({"request_id": "1470472868,dacf2ff1", "time_used": 3, "error_message": message}, status)
