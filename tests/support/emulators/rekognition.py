"""AWS Rekognition 2016-06-27, as its documentation describes it: JSON 1.1, SigV4, thresholds that default to 80."""

from __future__ import annotations

import base64
import re
import time
from calendar import timegm
from typing import Any

from emulators.pixels import NoPictureError, has_face, looks, opened
from emulators.server import Asked, Emulator, Said, hmac_chain, sha256

_HEADER = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/([^/]+)/([^/]+)/rekognition/aws4_request, "
    r"SignedHeaders=([^,]+), Signature=([0-9a-f]+)"
)
_JSON = "application/x-amz-json-1.1"


class _ProblemError(Exception):
    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


class RekognitionEmulator(Emulator):
    """Collections of faces; what is below a threshold has no similarity.

    Attributes:
        collections: image ids and pictures, in the order in which they were indexed.
        filters: values of ``QualityFilter`` that were asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.collections: dict[str, list[tuple[str, bytes]]] = {}
        self.filters: set[str] = set()

    def action(self, asked: Asked) -> str:
        return asked.headers.get("x-amz-target", "").removeprefix("RekognitionService.")

    def vendor_fault(self, fault: str) -> Said:
        codes = {
            "throttle": ("ThrottlingException", "Rate exceeded", 400),
            "provisioned": ("ProvisionedThroughputExceededException", "slow down", 400),
            "quota": ("ServiceQuotaExceededException", "the quota is used up", 400),
            "busy": ("InternalServerError", "emulated", 500),
        }
        return _failed(_ProblemError(*codes[fault]))

    def respond(self, asked: Asked) -> Said:
        try:
            self._check_access(asked)
            done = getattr(self, f"_{self.action(asked)}", None)
            if done is None:
                raise _ProblemError("UnknownOperationException", "no such operation")
            value = asked.json()
            self.filters.add(value.get("QualityFilter", "not asked"))
            return Said(done(value), 200, _JSON, {"x-amzn-requestid": "7a3-11"})
        except _ProblemError as problem:
            return _failed(problem)

    def _check_access(self, asked: Asked) -> None:
        found = _HEADER.fullmatch(asked.headers.get("authorization", ""))
        if found is None:
            raise _ProblemError("MissingAuthenticationTokenException", "no signature")
        key, day, region, names, signature = found.groups()
        stamp = asked.headers["x-amz-date"]
        if key != self.key:
            raise _ProblemError("UnrecognizedClientException", "The security token included in the request is invalid.")
        if abs(time.time() - timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ"))) > 300:
            raise _ProblemError("InvalidSignatureException", f"Signature expired: {stamp} is now earlier")
        lines = "".join(f"{name}:{asked.headers[name]}\n" for name in names.split(";"))
        canonical = f"POST\n/\n\n{lines}\n{names}\n{sha256(asked.body)}"
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{day}/{region}/rekognition/aws4_request\n{sha256(canonical.encode())}"
        steps = (day, region, "rekognition", "aws4_request", text)
        right = hmac_chain(f"AWS4{self.secret}".encode(), *steps).hex()
        if signature != right or not {"host", "x-amz-date"} <= set(names.split(";")):
            raise _ProblemError("InvalidSignatureException", f"not {signature}")

    def _picture(self, value: Any) -> bytes:
        content = base64.b64decode(value["Bytes"])
        if len(content) > 5_242_880:
            raise _ProblemError("ImageTooLargeException", "5 MB")
        try:
            sides = opened(content).size
        except NoPictureError:
            raise _ProblemError("InvalidImageFormatException", "PNG or JPEG") from None
        if min(sides) < 80:
            raise _ProblemError("InvalidParameterException", "Request has invalid parameters")
        return content

    def _with_face(self, value: Any) -> bytes:
        content = self._picture(value)
        if not has_face(content):
            raise _ProblemError("InvalidParameterException", "Request has invalid parameters")
        return content

    def _CompareFaces(self, value: Any) -> dict[str, Any]:  # noqa: N802
        a, b = self._with_face(value["SourceImage"]), self._with_face(value["TargetImage"])
        similarity, face = round(100 * self.score(a, b), 5), {"BoundingBox": {}, "Confidence": 99.9}
        kept = similarity >= value.get("SimilarityThreshold", 80)
        return {
            "SourceImageFace": face,
            "FaceMatches": [{"Similarity": similarity, "Face": face}] if kept else [],
            "UnmatchedFaces": [] if kept else [face],
        }

    def _collection(self, name: str) -> list[tuple[str, bytes]]:
        if name not in self.collections:
            raise _ProblemError("ResourceNotFoundException", "no such collection")
        return self.collections[name]

    def _CreateCollection(self, value: Any) -> dict[str, Any]:  # noqa: N802
        if not re.fullmatch(r"[A-Za-z0-9_.\-]{1,255}", value["CollectionId"]):
            raise _ProblemError("InvalidParameterException", "CollectionId")
        if value["CollectionId"] in self.collections:
            raise _ProblemError("ResourceAlreadyExistsException", "it exists")
        self.collections[value["CollectionId"]] = []
        return {"CollectionArn": "arn", "FaceModelVersion": "7.0", "StatusCode": 200}

    def _IndexFaces(self, value: Any) -> dict[str, Any]:  # noqa: N802
        content = self._picture(value["Image"])
        if not has_face(content):
            return {"FaceRecords": [], "UnindexedFaces": [], "FaceModelVersion": "7.0"}
        self._collection(value["CollectionId"]).append((value["ExternalImageId"], content))
        return {"FaceRecords": [{"Face": {"FaceId": "1"}}], "UnindexedFaces": [], "FaceModelVersion": "7.0"}

    def _SearchFacesByImage(self, value: Any) -> dict[str, Any]:  # noqa: N802
        content = self._picture(value["Image"])
        if not has_face(content):
            raise _ProblemError("InvalidParameterException", "There are no faces in the image. Should be at least 1.")
        known, least = self._collection(value["CollectionId"]), value.get("FaceMatchThreshold", 80)
        scores = [(round(100 * self.score(content, one), 5), name) for name, one in known]
        best = sorted((one for one in scores if one[0] >= least), key=lambda one: (-one[0], one[1]))
        found = [{"Similarity": score, "Face": {"FaceId": "1", "ExternalImageId": name}} for score, name in best]
        return {"FaceMatches": found[: value.get("MaxFaces", 80)], "FaceModelVersion": "7.0"}

    def _DeleteCollection(self, value: Any) -> dict[str, Any]:  # noqa: N802
        self._collection(value["CollectionId"])
        del self.collections[value["CollectionId"]]
        return {"StatusCode": 200}

    def _ListCollections(self, value: Any) -> dict[str, Any]:  # noqa: N802
        names, begin = list(self.collections), int(value.get("NextToken", "0"))
        said: dict[str, Any] = {"CollectionIds": names[begin : begin + 2]}
        return said | ({"NextToken": str(begin + 2)} if len(names) > begin + 2 else {})

    def _DetectFaces(self, value: Any) -> dict[str, Any]:  # noqa: N802
        content = self._picture(value["Image"])
        if not has_face(content):
            return {"FaceDetails": []}
        female, age, smiling = looks(content)
        face = {
            "AgeRange": {"Low": age - 4, "High": age + 4},
            "Gender": {"Value": "Female" if female else "Male", "Confidence": 99.0},
            "Emotions": [
                {"Type": "CALM", "Confidence": 8.0 if smiling else 90.0},
                {"Type": "HAPPY", "Confidence": 90.0 if smiling else 8.0},
            ],
        }
        return {"FaceDetails": [face]}


def _failed(problem: _ProblemError) -> Said:
    return Said({"__type": problem.code, "message": problem.message}, problem.status, _JSON)
