"""Signatures against vectors that vendors' own SDKs and an independent few lines agreed on."""

from __future__ import annotations

from cloakbench.models.mlaas.signatures import acs3_headers, bce_headers, sigv4_headers, tc3_headers
from cloakbench.models.service_keys import ServiceKeys

SECONDS = 1_700_000_000  # 2023-11-14T22:13:20Z
KEYS = ServiceKeys("AKIDEXAMPLE", "SECRETEXAMPLE")


def test_tc3_agrees_with_its_vector() -> None:
    body = b'{"ImageA":"QQ==","ImageB":"QQ=="}'
    headers = tc3_headers(KEYS, "iai", "iai.tencentcloudapi.com", "application/json", body, SECONDS)
    assert headers["x-tc-timestamp"] == "1700000000" and headers["host"] == "iai.tencentcloudapi.com"
    assert headers["authorization"] == (
        "TC3-HMAC-SHA256 Credential=AKIDEXAMPLE/2023-11-14/iai/tc3_request, SignedHeaders=content-type;host, "
        "Signature=30e7ac85eccbece8dc5fccd77a7b4ee93e3810ae5648c696f2f428e6c0b8e9d4"
    )


def test_acs3_agrees_with_its_vector() -> None:
    host, kind = "facebody.cn-shanghai.aliyuncs.com", "application/x-www-form-urlencoded"
    body = b"ImageDataA=QQ%3D%3D&ImageDataB=QQ%3D%3D"
    headers = acs3_headers(KEYS, "CompareFace", "2019-12-30", host, kind, body, SECONDS, "0" * 31 + "1")
    assert headers["x-acs-content-sha256"] == "4aa849b278c1315e09c71b0f15fb89ff77470f8b5dbe4e8bd77b877c2d20e5a4"
    assert headers["x-acs-date"] == "2023-11-14T22:13:20Z"
    assert headers["authorization"] == (
        "ACS3-HMAC-SHA256 Credential=AKIDEXAMPLE,SignedHeaders=content-type;host;x-acs-action;x-acs-content-sha256;"
        "x-acs-date;x-acs-signature-nonce;x-acs-version,"
        "Signature=bece4df213194a3b753a8c3c61b831105867cd62283e9e568f8c8bb1d984dc87"
    )


def test_sigv4_agrees_with_its_vector() -> None:
    host = "rekognition.us-east-1.amazonaws.com"
    named = {"content-type": "application/x-amz-json-1.1", "x-amz-target": "RekognitionService.CompareFaces"}
    body = b'{"SourceImage":{"Bytes":"QQ=="},"TargetImage":{"Bytes":"QQ=="},"SimilarityThreshold":0}'
    headers = sigv4_headers(KEYS, "us-east-1", "rekognition", host, named, body, SECONDS)
    assert headers["x-amz-date"] == "20231114T221320Z"
    assert headers["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20231114/us-east-1/rekognition/aws4_request, "
        "SignedHeaders=content-type;host;x-amz-date;x-amz-target, "
        "Signature=37f703c39e15eae503c69e15a5b03ddda7d7bcdac6d3ba0887cd122008173af5"
    )


def test_bce_agrees_with_its_vector() -> None:
    keys = ServiceKeys("AKEXAMPLE", "SKEXAMPLE")
    headers = bce_headers(keys, "/rest/2.0/face/v3/match", {}, "aip.baidubce.com", SECONDS)
    assert headers["authorization"] == (
        "bce-auth-v1/AKEXAMPLE/2023-11-14T22:13:20Z/1800/host;x-bce-date/"
        "8e5dcc0124cdc0c45b6d63faa1a013af5fc187e919f8137d2dbf7d119db33e86"
    )


def test_tokens_of_temporary_keys_travel_with_the_signature() -> None:
    keys = ServiceKeys("AKIDEXAMPLE", "SECRETEXAMPLE", "TEMPORARY")
    assert tc3_headers(keys, "iai", "h", "application/json", b"", SECONDS)["x-tc-token"] == "TEMPORARY"
    acs3 = acs3_headers(keys, "A", "v", "h", "application/json", b"", SECONDS, "1")
    sigv4 = sigv4_headers(keys, "us-east-1", "rekognition", "h", {}, b"", SECONDS)
    assert "x-acs-security-token;" in acs3["authorization"]  # signed, as the two vendors want it
    assert "x-amz-security-token," in sigv4["authorization"]
