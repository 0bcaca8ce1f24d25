"""Vendors' own packages, where they are installed, at the same emulators: they are let in and are told the same."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from emulators.fleet import face

Start = Callable[[str], Any]


def test_boto3_agrees(start: Start) -> None:
    boto3 = pytest.importorskip("boto3")
    pair = start("rekognition")
    client = boto3.client(
        "rekognition",
        region_name="us-east-1",
        endpoint_url=pair.emulator.url,
        aws_access_key_id=pair.emulator.key,
        aws_secret_access_key=pair.emulator.secret,
    )
    a, b = face(1), face(2)
    said = client.compare_faces(
        SourceImage={"Bytes": a.content}, TargetImage={"Bytes": b.content}, SimilarityThreshold=0, QualityFilter="NONE"
    )
    assert said["FaceMatches"][0]["Similarity"] == pair.service.compare(a, b).score
    client.create_collection(CollectionId="cb_1")
    assert pair.service.enrol("cb_1", {"p1": a}).handles == {"p1": "p1"}
    found = client.search_faces_by_image(CollectionId="cb_1", Image={"Bytes": b.content}, FaceMatchThreshold=0)
    (match,) = pair.service.search("cb_1", b, 1).matches
    assert (found["FaceMatches"][0]["Face"]["ExternalImageId"], found["FaceMatches"][0]["Similarity"]) == (
        match.face,
        match.score,
    )
    low, high = pair.service.attributes(a).attributes["age"]
    details = client.detect_faces(Image={"Bytes": a.content}, Attributes=["ALL"])["FaceDetails"]
    assert details[0]["AgeRange"] == {"Low": low, "High": high}
    with pytest.raises(client.exceptions.InvalidImageFormatException):
        client.detect_faces(Image={"Bytes": b"GIF89a"})


def test_the_package_of_tencent_agrees(start: Start) -> None:
    pytest.importorskip("tencentcloud.iai")
    from tencentcloud.common.credential import Credential  # type: ignore[import-not-found]
    from tencentcloud.common.profile.client_profile import ClientProfile  # type: ignore[import-not-found]
    from tencentcloud.common.profile.http_profile import HttpProfile  # type: ignore[import-not-found]
    from tencentcloud.iai.v20200303 import iai_client, models  # type: ignore[import-not-found]

    pair = start("tencent")
    profile = ClientProfile(httpProfile=HttpProfile(protocol="http", endpoint=pair.emulator.url.partition("://")[2]))
    client = iai_client.IaiClient(Credential(pair.emulator.key, pair.emulator.secret), "ap-shanghai", profile)
    a, b = face(1), face(2)
    asked = models.CompareFaceRequest()
    asked.ImageA, asked.ImageB, asked.FaceModelVersion = a.base64(), b.base64(), "3.0"
    assert client.CompareFace(asked).Score == pair.service.compare(a, b).score
    about = models.DetectFaceAttributesRequest()
    about.Image, about.FaceAttributesType = a.base64(), "Age,Gender,Emotion"
    found = client.DetectFaceAttributes(about).FaceDetailInfos[0].FaceDetailAttributesInfo
    said = pair.service.attributes(a).attributes
    assert (found.Age, str(found.Gender.Type), str(found.Emotion.Type)) == (
        said["age"],
        said["gender"],
        said["expression"],
    )


def test_the_package_of_aliyun_agrees(start: Start) -> None:
    pytest.importorskip("alibabacloud_facebody20191230")
    from alibabacloud_facebody20191230 import client, models  # type: ignore[import-not-found]
    from alibabacloud_tea_openapi.models import Config  # type: ignore[import-not-found]

    pair = start("aliyun")
    asked = client.Client(
        Config(
            access_key_id=pair.emulator.key,
            access_key_secret=pair.emulator.secret,
            endpoint=pair.emulator.url.partition("://")[2],
            protocol="http",
        )
    )
    a, b = face(1), face(2)
    said = asked.compare_face(
        models.CompareFaceRequest(
            image_data_a=base64.b64encode(a.content).decode(), image_data_b=base64.b64encode(b.content).decode()
        )
    )
    answer = pair.service.compare(a, b)
    assert said.body.data.confidence == pytest.approx(answer.score, abs=1e-4)
    assert said.body.data.thresholds == list(answer.thresholds.by_far.values())
