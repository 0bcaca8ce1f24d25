"""Azure AI Face v1.0, as its documentation describes it: ids that live for a while, lists that want training."""

from __future__ import annotations

import re
from typing import Any

from emulators.pixels import NoPictureError, box, has_face, opened
from emulators.server import Asked, Emulator, Said

_NAMED = {"apim-request-id": "5d1-77"}


class _ProblemError(Exception):
    def __init__(self, status: int, code: str, message: str, inner: str = "") -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.inner = status, code, message, inner


class AzureEmulator(Emulator):
    """A key in a header; identity needs an approval; lists are searched as they were when they were trained.

    Attributes:
        approved: whether ids are given out.
        lists: faces of each list, as they are now.
        trained: as they were when they were trained.
        training_looks: how often somebody has to look until a training is done.
    """

    def __init__(self) -> None:
        super().__init__()
        self.approved = True
        self.lists: dict[str, dict[str, bytes]] = {}
        self.trained: dict[str, dict[str, bytes]] = {}
        self.training_looks = 1
        self._ids: dict[str, bytes] = {}
        self._persisted = 0
        self._looks: dict[str, int] = {}

    def action(self, asked: Asked) -> str:
        path = asked.path.removeprefix("/face/v1.0/")
        known = re.fullmatch(r"largefacelists(?:/([^/]+)(?:/(\w+))?)?", path)
        return f"{asked.method} {path}" if not known else f"{asked.method} list {known[2] or ''}".strip()

    def vendor_fault(self, fault: str) -> Said:
        faults = {
            "throttle": _ProblemError(429, "429", "Rate limit is exceeded. Try again in 26 seconds."),
            "quota": _ProblemError(403, "403", "Out of call volume quota. Quota will be replenished in 2 days."),
            "conflict": _ProblemError(409, "ConcurrentOperationConflict", "There is a conflict operation."),
        }
        return _failed(faults[fault])

    def respond(self, asked: Asked) -> Said:
        try:
            given = asked.headers.get("ocp-apim-subscription-key", "")
            if given != self.key:
                raise _ProblemError(401, "401", f"Access denied due to invalid subscription key {given}.")
            said = self._done(asked)
            status, content = (202, b"") if said is None else (200, Said(said).content())
            return Said(content, status, headers=dict(_NAMED))
        except _ProblemError as problem:
            return _failed(problem)

    def _done(self, asked: Asked) -> Any:
        path = asked.path.removeprefix("/face/v1.0/").split("/")
        if path[0] == "detect":
            return self._detect(asked)
        if path[0] in ("verify", "findsimilars"):
            return getattr(self, f"_{path[0]}")(asked.json())
        if path[0] == "largefacelists":
            return self._about_lists(asked, path[1:])
        raise _ProblemError(404, "NotFound", "Resource not found")

    def _picture(self, content: bytes) -> bytes:
        if not 1 << 10 <= len(content) <= 6 << 20:
            raise _ProblemError(400, "InvalidImageSize", "Image size is too small or too big.")
        try:
            opened(content)
        except NoPictureError:
            raise _ProblemError(400, "InvalidImage", "Decoding error, image format unsupported.") from None
        return content

    def _detect(self, asked: Asked) -> Any:
        wants_id = asked.query.get("returnFaceId", "true") == "true"
        if wants_id and not self.approved:
            message = "Feature is not supported, missing approval for one or more of: Identification,Verification."
            raise _ProblemError(403, "InvalidRequest", message, "UnsupportedFeature")
        content = self._picture(asked.body)
        if not has_face(content):
            return []
        left, top, width, height = box(content)
        face: dict[str, Any] = {"faceRectangle": {"left": left, "top": top, "width": width, "height": height}}
        if wants_id:
            face["faceId"] = f"id-{len(self._ids):06d}"
            self._ids[face["faceId"]] = content
        small = {"faceRectangle": {"left": 0, "top": 0, "width": 1, "height": 1}, "faceId": "somebody-behind"}
        return [small, face]

    def _face(self, face: str) -> bytes:
        if face not in self._ids:
            raise _ProblemError(404, "FaceNotFound", "Face is not found.")
        return self._ids[face]

    def _verify(self, value: Any) -> Any:
        confidence = round(self.score(self._face(value["faceId1"]), self._face(value["faceId2"])), 5)
        return {"isIdentical": confidence >= 0.5, "confidence": confidence}

    def _findsimilars(self, value: Any) -> Any:
        name, most = value["largeFaceListId"], value.get("maxNumOfCandidatesReturned", 20)
        if name not in self.lists:
            raise _ProblemError(404, "LargeFaceListNotFound", "Large face list is not found.")
        if name not in self.trained:
            raise _ProblemError(400, "LargeFaceListNotTrained", "Large face list is not trained.")
        if not 1 <= most <= 1000:
            raise _ProblemError(400, "BadArgument", "maxNumOfCandidatesReturned")
        content = self._face(value["faceId"])
        scores = [(round(self.score(content, one), 5), face) for face, one in self.trained[name].items()]
        if value.get("mode", "matchPerson") == "matchPerson":
            scores = [one for one in scores if one[0] >= 0.5]
        best = sorted(scores, key=lambda one: (-one[0], one[1]))[:most]
        return [{"persistedFaceId": face, "confidence": score} for score, face in best]

    def _about_lists(self, asked: Asked, path: list[str]) -> Any:
        if not path:
            names = [one for one in sorted(self.lists) if one > asked.query.get("start", "")]
            return [{"largeFaceListId": one} for one in names[: int(asked.query.get("top", "1000"))]]
        name, what = path[0], path[1] if len(path) > 1 else ""
        if asked.method == "PUT":
            if name in self.lists:
                raise _ProblemError(409, "LargeFaceListExists", "Large face list already exists.")
            self.lists[name] = {}
            return {}
        if name not in self.lists:
            raise _ProblemError(404, "LargeFaceListNotFound", "Large face list is not found.")
        if asked.method == "DELETE":
            del self.lists[name]
            self.trained.pop(name, None)
            return {}
        return getattr(self, f"_{what}")(name, asked)

    def _persistedfaces(self, name: str, asked: Asked) -> Any:
        content = self._picture(asked.body)
        if not has_face(content):
            raise _ProblemError(400, "InvalidImage", "No face detected in the image.")
        self._persisted += 1
        self.lists[name][face := f"persisted-{self._persisted:06d}"] = content
        return {"persistedFaceId": face}

    def _train(self, name: str, asked: Asked) -> None:
        self._looks[name] = self.training_looks

    def _training(self, name: str, asked: Asked) -> Any:
        self._looks[name] -= 1
        if self._looks[name] > 0:
            return {"status": "running"}
        self.trained[name] = dict(self.lists[name])
        return {"status": "succeeded"}


def _failed(problem: _ProblemError) -> Said:
    error: dict[str, Any] = {"code": problem.code, "message": problem.message}
    if problem.inner:
        error["innererror"] = {"code": problem.inner, "message": problem.message}
    return Said({"error": error}, problem.status, headers=dict(_NAMED))
