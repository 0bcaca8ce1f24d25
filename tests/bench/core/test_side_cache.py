"""Side caches: what is kept comes back as it was, and nothing ever depends on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloakbench.bench.core.side_cache import SideCache


@pytest.fixture(autouse=True)
def side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLOAKBENCH_CACHE", str(tmp_path / "side"))
    return tmp_path / "side"


def kept(**values: object) -> SideCache:
    cache = SideCache("facts")
    for key, value in values.items():
        cache.put(key, value)
    cache.save()
    return cache


def test_values_come_back_with_their_order(side: Path) -> None:
    kept(one={"b": 1, "a": [1.5, None, "é"]})
    found = SideCache("facts").get("one")
    assert found == {"b": 1, "a": [1.5, None, "é"]}
    assert list(found) == ["b", "a"]
    assert SideCache("facts").get("two") is None
    assert SideCache("others").get("one") is None


def test_what_others_wrote_meanwhile_stays() -> None:
    late = SideCache("facts")
    assert late.get("one") is None
    kept(one=1)
    late.put("two", 2)
    late.save()
    assert [SideCache("facts").get(key) for key in ("one", "two")] == [1, 2]


def test_the_oldest_go() -> None:
    cache = SideCache("facts", most=2)
    for number in (3, 2, 1, 0):
        cache.put(str(number), number)
        cache.save()
    assert [SideCache("facts").get(str(number)) for number in range(4)] == [0, 1, None, None]


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"seal": "x"}', None])
def test_damaged_files_are_as_good_as_none(side: Path, damage: bytes | None) -> None:
    kept(one=1)
    file = side / "facts.json"
    file.write_bytes(file.read_bytes().replace(b'"1"', b'"2"') if damage is None else damage)
    assert SideCache("facts").get("one") is None
    kept(one=3)
    assert SideCache("facts").get("one") == 3


def test_a_folder_that_cannot_be_written_to_is_no_trouble(side: Path) -> None:
    side.write_bytes(b"a file in its place")
    assert kept(one=1).get("one") == 1
    assert SideCache("facts").get("one") is None
