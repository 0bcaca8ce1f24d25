"""Signatures of requests: TC3, ACS3, SigV4 and BCE v1, as headers to be sent with a request.

All four hash a canonical form of the request and sign the hash, with the time in it, by HMAC-SHA256. They differ in
what they put into it and in how the signing key is made from the secret. Sources: ``TC3-HMAC-SHA256`` of Tencent Cloud,
``ACS3-HMAC-SHA256`` of Aliyun, ``AWS4-HMAC-SHA256`` of AWS, ``bce-auth-v1`` of Baidu; each with a vector in the tests.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

from cloakbench.models.service_keys import ServiceKeys

_BCE_SECONDS = 1800


def tc3_headers(
    keys: ServiceKeys, service: str, host: str, content_type: str, body: bytes, seconds: float
) -> dict[str, str]:
    """Headers of a POST to ``/`` of Tencent Cloud, API 3.0, but those that name the action.

    Args:
        keys: secret id and secret key.
        service: such as ``iai``.
        host: with the port, where it is no usual one.
        content_type: of the body.
        body: as it is sent.
        seconds: since 1970.
    """
    stamp = int(seconds)
    day = f"{datetime.fromtimestamp(stamp, UTC):%Y-%m-%d}"
    signed = {"content-type": content_type, "host": host}
    canonical = _canonical("POST", "/", "", signed, _sha256(body))
    scope = f"{day}/{service}/tc3_request"
    to_sign = f"TC3-HMAC-SHA256\n{stamp}\n{scope}\n{_sha256(canonical.encode())}"
    signature = _signed(f"TC3{keys.secret}".encode(), to_sign, day, service, "tc3_request")
    credential = f"Credential={keys.key}/{scope}"
    headers = {
        **signed,
        "x-tc-timestamp": str(stamp),
        "authorization": f"TC3-HMAC-SHA256 {credential}, SignedHeaders={';'.join(signed)}, Signature={signature}",
    }
    return {**headers, "x-tc-token": keys.token} if keys.token else headers


def acs3_headers(
    keys: ServiceKeys, action: str, version: str, host: str, content_type: str, body: bytes, seconds: float, nonce: str
) -> dict[str, str]:
    """Headers of a POST to ``/`` of Aliyun, signature version 3.

    Args:
        keys: access key id and secret.
        action, version: of the API.
        host: with the port, where it is no usual one.
        content_type: of the body.
        body: as it is sent.
        seconds: since 1970.
        nonce: never used before.
    """
    digest = _sha256(body)
    signed = {
        "content-type": content_type,
        "host": host,
        "x-acs-action": action,
        "x-acs-content-sha256": digest,
        "x-acs-date": f"{datetime.fromtimestamp(int(seconds), UTC):%Y-%m-%dT%H:%M:%SZ}",
        "x-acs-signature-nonce": nonce,
        "x-acs-version": version,
    }
    if keys.token:
        signed["x-acs-security-token"] = keys.token
    signed = dict(sorted(signed.items()))
    canonical = _canonical("POST", "/", "", signed, digest)
    signature = _signed(keys.secret.encode(), f"ACS3-HMAC-SHA256\n{_sha256(canonical.encode())}")
    return {
        **signed,
        "authorization": f"ACS3-HMAC-SHA256 Credential={keys.key},SignedHeaders={';'.join(signed)},"
        f"Signature={signature}",
    }


def sigv4_headers(
    keys: ServiceKeys, region: str, service: str, host: str, headers: Mapping[str, str], body: bytes, seconds: float
) -> dict[str, str]:
    """Headers of a POST to ``/`` of AWS, signature version 4.

    Args:
        keys: access key id and secret.
        region, service: such as ``us-east-1`` and ``rekognition``.
        host: with the port, where it is no usual one.
        headers: that are signed, too; names in lower case.
        body: as it is sent.
        seconds: since 1970.
    """
    at = datetime.fromtimestamp(int(seconds), UTC)
    stamp, day = f"{at:%Y%m%dT%H%M%SZ}", f"{at:%Y%m%d}"
    signed = {**headers, "host": host, "x-amz-date": stamp}
    if keys.token:
        signed["x-amz-security-token"] = keys.token
    signed = dict(sorted(signed.items()))
    canonical = _canonical("POST", "/", "", signed, _sha256(body))
    scope = f"{day}/{region}/{service}/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{_sha256(canonical.encode())}"
    signature = _signed(f"AWS4{keys.secret}".encode(), to_sign, day, region, service, "aws4_request")
    return {
        **signed,
        "authorization": f"AWS4-HMAC-SHA256 Credential={keys.key}/{scope}, SignedHeaders={';'.join(signed)}, "
        f"Signature={signature}",
    }


def bce_headers(
    keys: ServiceKeys, path: str, query: Mapping[str, str], host: str, seconds: float, method: str = "POST"
) -> dict[str, str]:
    """Headers of a request to Baidu, ``bce-auth-v1``, with ``host`` and ``x-bce-date`` signed.

    Args:
        keys: access key and secret key.
        path: not quoted yet.
        query: parameters of the address.
        host: with the port, where it is no usual one.
        seconds: since 1970; the signature holds for half an hour.
        method: of HTTP.
    """
    stamp = f"{datetime.fromtimestamp(int(seconds), UTC):%Y-%m-%dT%H:%M:%SZ}"
    prefix = f"bce-auth-v1/{keys.key}/{stamp}/{_BCE_SECONDS}"
    signing_key = _signed(keys.secret.encode(), prefix)
    signed = {"host": host, "x-bce-date": stamp}
    lines = "\n".join(f"{name}:{quote(value, safe='')}" for name, value in sorted(signed.items()))
    asked = "&".join(sorted(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query.items()))
    signature = _signed(signing_key.encode(), f"{method}\n{quote(path)}\n{asked}\n{lines}")
    return {**signed, "authorization": f"{prefix}/{';'.join(sorted(signed))}/{signature}"}


def _canonical(method: str, path: str, query: str, headers: Mapping[str, str], body_digest: str) -> str:
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    return "\n".join((method, path, query, lines, ";".join(headers), body_digest))


def _signed(key: bytes, text: str, *steps: str) -> str:
    """Hex HMAC of a text, by a key that goes through the steps first."""
    for step in steps:
        key = hmac.digest(key, step.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
