"""A seal sees every byte and the name."""

from __future__ import annotations

import io

import pytest

from cloakbench.bench.core.files.seal import (
    BLANK,
    DamagedError,
    check_seal,
    check_stream,
    open_json,
    seal,
    sealed_json,
    sealed_stream,
)


def test_every_bit_of_a_sealed_file_counts() -> None:
    content = b"".join(seal(b"before " + BLANK.encode() + b" after", "kind/key"))
    check_seal(content, "kind/key")
    for place in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        with pytest.raises(DamagedError):
            check_seal(bytes(damaged), "kind/key")
    for other in (b"", content[:-1], content + b"x", content[1:], content + content, bytes(len(content))):
        with pytest.raises(DamagedError):
            check_seal(other, "kind/key")
    with pytest.raises(DamagedError):
        check_seal(content, "kind/another")


def test_a_stream_is_sealed_behind_its_last_byte() -> None:
    content = b"".join(sealed_stream([b"one", memoryview(b"two"), b""], "name"))
    assert content.startswith(b"onetwo")
    check_stream(io.BytesIO(content), len(content), "name")
    check_seal(content, "name")
    for place in range(len(content)):
        damaged = content[:place] + bytes([content[place] ^ 8]) + content[place + 1 :]
        with pytest.raises(DamagedError):
            check_stream(io.BytesIO(damaged), len(damaged), "name")
    for other in (b"", content[:-1], content + b"x"):
        with pytest.raises(DamagedError):
            check_stream(io.BytesIO(other), len(other), "name")
    with pytest.raises(DamagedError):
        check_stream(io.BytesIO(content), len(content), "another")


def test_json_comes_back_and_content_without_a_place_is_refused() -> None:
    value = {"a": [1, None, "ü"], "seal": "mine"}
    assert open_json(sealed_json(value, "x"), "x") == value
    with pytest.raises(DamagedError, match="has no digest"):
        open_json(b"{}", "x")
    with pytest.raises(ValueError, match="no place for a seal"):
        seal(b"{}", "x")
