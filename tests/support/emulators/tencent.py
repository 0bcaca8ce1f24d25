"""Tencent Cloud IAI 2020-03-03, as its documentation describes it: TC3 signatures, errors inside HTTP 200."""

from __future__ import annotations

import base64
import binascii
import re
import time
from typing import Any

from emulators.pixels import NoPictureError, has_face, looks, opened
from emulators.server import Asked, Emulator, Said, hmac_chain, sha256

_BASE64_BYTES = 5 << 20
_HEADER = re.compile(
    r"TC3-HMAC-SHA256 Credential=([^/]+)/([^/]+)/iai/tc3_request, SignedHeaders=([^,]+), Signature=([0-9a-f]+)"
)


class _ProblemError(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class TencentEmulator(Emulator):
    """People in groups; scores of searches on a scale of their own.

    Attributes:
        groups: person to picture.
        asked_thresholds: ``FaceMatchThreshold`` of searches.
    """

    def __init__(self) -> None:
        super().__init__()
        self.groups: dict[str, dict[str, bytes]] = {}
        self.asked_thresholds: list[Any] = []

    def action(self, asked: Asked) -> str:
        return asked.headers.get("x-tc-action", "")

    def vendor_fault(self, fault: str) -> Said:
        codes = {
            "throttle": "RequestLimitExceeded",
            "quota": "ResourceUnavailable.InArrears",
            "busy": "FailedOperation.ServerError",
            "not_opened": "ResourceUnavailable.NotExist",
        }
        return _failed(codes[fault], "emulated")

    def respond(self, asked: Asked) -> Said:
        try:
            self._check_access(asked)
            done = getattr(self, f"_{self.action(asked)}", None)
            if done is None:
                raise _ProblemError("InvalidAction", "no such action")
            return Said({"Response": {**done(asked.json()), "RequestId": "f2a1-43"}})
        except _ProblemError as problem:
            return _failed(problem.code, problem.message)

    def _check_access(self, asked: Asked) -> None:
        found = _HEADER.fullmatch(asked.headers.get("authorization", ""))
        if found is None:
            raise _ProblemError("AuthFailure.InvalidAuthorization", "no signature")
        key, day, names, signature = found.groups()
        stamp = asked.headers["x-tc-timestamp"]
        if key != self.key:
            raise _ProblemError("AuthFailure.SecretIdNotFound", f"The SecretId {key} is not found")
        if abs(time.time() - int(stamp)) > 300:
            raise _ProblemError("AuthFailure.SignatureExpire", "the timestamp is too far off")
        lines = "".join(f"{name}:{asked.headers[name]}\n" for name in names.split(";"))
        canonical = f"{asked.method}\n{asked.path}\n\n{lines}\n{names}\n{sha256(asked.body)}"
        text = f"TC3-HMAC-SHA256\n{stamp}\n{day}/iai/tc3_request\n{sha256(canonical.encode())}"
        right = hmac_chain(f"TC3{self.secret}".encode(), day, "iai", "tc3_request", text).hex()
        if signature != right or names != "content-type;host":
            raise _ProblemError("AuthFailure.SignatureFailure", "the signature is wrong")

    def _picture(self, text: str) -> bytes:
        if len(text) > _BASE64_BYTES:
            raise _ProblemError("FailedOperation.ImageSizeExceed", "too many bytes")
        try:
            content = base64.b64decode(text, validate=True)
            picture = opened(content)
        except (binascii.Error, NoPictureError):
            raise _ProblemError("FailedOperation.ImageDecodeFailed", "no picture") from None
        if max(picture.size) > (4000 if picture.format == "JPEG" else 2000):
            raise _ProblemError("FailedOperation.ImageResolutionExceed", "too many pixels")
        if min(picture.size) < 64:
            raise _ProblemError("FailedOperation.ImageResolutionTooSmall", "too few pixels")
        if not has_face(content):
            raise _ProblemError("InvalidParameterValue.NoFaceInPhoto", "no face")
        return content

    def _CompareFace(self, value: Any) -> dict[str, Any]:  # noqa: N802
        score = 100 * self.score(self._picture(value["ImageA"]), self._picture(value["ImageB"]))
        return {"Score": round(score, 2), "FaceModelVersion": value.get("FaceModelVersion", "2.0")}

    def _DetectFaceSimilarity(self, value: Any) -> dict[str, Any]:  # noqa: N802
        return {"Score": round(100 * self.score(self._picture(value["ImageA"]), self._picture(value["ImageB"])), 2)}

    def _CreateGroup(self, value: Any) -> dict[str, Any]:  # noqa: N802
        if not re.fullmatch(r"[A-Za-z0-9\-%@#&_]{1,64}", value["GroupId"]) or len(value["GroupName"]) > 60:
            raise _ProblemError("InvalidParameterValue.GroupIdIllegal", "letters, digits, -%@#&_")
        if value["GroupId"] in self.groups:
            raise _ProblemError("InvalidParameterValue.GroupIdAlreadyExist", "it exists")
        self.groups[value["GroupId"]] = {}
        return {"FaceModelVersion": value["FaceModelVersion"]}

    def _group(self, name: str) -> dict[str, bytes]:
        if name not in self.groups:
            raise _ProblemError("InvalidParameterValue.GroupIdNotExist", "no such group")
        return self.groups[name]

    def _CreatePerson(self, value: Any) -> dict[str, Any]:  # noqa: N802
        if any(value["PersonId"] in group for group in self.groups.values()):
            raise _ProblemError("InvalidParameterValue.PersonIdAlreadyExist", "people are unique in the account")
        content = self._picture(value["Image"])
        self._group(value["GroupId"])[value["PersonId"]] = content
        return {"FaceId": "3875666159779839999", "FaceModelVersion": "3.0"}

    def _SearchFaces(self, value: Any) -> dict[str, Any]:  # noqa: N802
        self.asked_thresholds.append(value.get("FaceMatchThreshold"))
        content, most = self._picture(value["Image"]), int(value.get("MaxPersonNum", 5))
        if not 1 <= most <= 100:
            raise _ProblemError("InvalidParameterValue", "MaxPersonNum")
        people = {person: one for name in value["GroupIds"] for person, one in self._group(name).items()}
        if not people:
            raise _ProblemError("InvalidParameterValue.NoFaceInGroups", "empty")
        scores = [(round(100 * self.score(content, one), 2), person) for person, one in people.items()]
        least = float(value.get("FaceMatchThreshold", 0))
        best = sorted((one for one in scores if one[0] >= least), key=lambda one: (-one[0], one[1]))[:most]
        candidates = [{"PersonId": person, "FaceId": "1", "Score": score} for score, person in best]
        return {"Results": [{"Candidates": candidates, "RetCode": 0}], "FaceNum": 1, "FaceModelVersion": "3.0"}

    def _DeleteGroup(self, value: Any) -> dict[str, Any]:  # noqa: N802
        self._group(value["GroupId"])
        del self.groups[value["GroupId"]]
        return {}

    def _GetGroupList(self, value: Any) -> dict[str, Any]:  # noqa: N802
        names = list(self.groups)[value.get("Offset", 0) :][: value.get("Limit", 10)]
        return {"GroupInfos": [{"GroupId": one, "GroupName": one} for one in names], "GroupNum": len(self.groups)}

    def _DetectFaceAttributes(self, value: Any) -> dict[str, Any]:  # noqa: N802
        female, age, smiling = looks(self._picture(value["Image"]))
        asked = set(value.get("FaceAttributesType", "None").split(","))
        found = {  # what was not asked for comes back as 0
            "Age": age if "Age" in asked else 0,
            "Gender": {"Type": int(female) if "Gender" in asked else 0, "Probability": 1},
            "Emotion": {"Type": int(smiling) if "Emotion" in asked else 0, "Probability": 1},
            "Smile": 0,
            "Mask": {"Type": 0, "Probability": 0},
        }
        return {"FaceDetailInfos": [{"FaceDetailAttributesInfo": found}], "FaceModelVersion": "3.0"}


def _failed(code: str, message: str) -> Said:
    return Said({"Response": {"Error": {"Code": code, "Message": message}, "RequestId": "f2a1-43"}})
