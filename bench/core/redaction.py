"""Redaction of what must not be written down: the parts of addresses and settings that open a door.

User, password, query and fragment of an address may be credentials (a signed address is nothing else), and so may be
settings and environment variables that are called so. In the path of an address, a part that looks like a key (long,
of digits and letters) or stands behind one that names a secret (``/token/...``) is taken for one, commits of a
repository apart. They are used and never written: not into logs, errors, reports, kept configs or entries of the store.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

LEFT_OUT = "(left out)"
"""What stands in the place of a secret."""

_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]*://"
_ADDRESS = re.compile(rf"({_SCHEME})([^\s\"'<>]+?)(?=,{_SCHEME}|[\s\"'<>]|$)")
_ONE_ADDRESS = re.compile(rf"{_SCHEME}(?:(?!://).)*", re.DOTALL)
_WHOLE_ADDRESS = re.compile(rf"({_SCHEME})(\S+)")
_HOST = re.compile(r"(?:[^:@\[\]]*|\[[0-9A-Fa-f:.]+\])(?::\d*)?[\]),.;:]*")

_NAMES = r"api_?key|(?:access|secret|private)_?key|token|secret|passw(?:or)?d|passphrase|credentials?|signature"
_SECRET_NAME = re.compile(rf"(?:^|_)(?:{_NAMES}|pass|auth|authorization|bearer)s?(?:_|$)")
_SECRET_VARIABLE = re.compile(rf"(?:^|_)(?:{_NAMES}|pass|key)s?(?:_|$)")
_ASSIGNED = re.compile(rf"(?i)(?<![a-z0-9])((?:{_NAMES})(?:\s*=\s*|[\"']\s*:\s*)[\"']?)[^\s,;&\"'\])}}]+")
_KEY_IN_PATH = re.compile(
    r"(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[0-9A-Za-z]{20,}"  # one long word of digits and letters
    r"|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"  # a UUID
    r"|^(?=.*\d)(?=.*[a-z])(?=.*[A-Z])[^.]{16,}$"  # both cases and digits, and no file's suffix
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_BEFORE_COMMITS = {"blob", "commit", "raw", "resolve", "tree"}
_SHORTEST = 8  # shorter values of variables are words such as "true", which may stand anywhere


def without_secrets(text: str) -> str:
    """A text without the secret parts of the addresses in it, without the values of settings that are secrets, and
    without the values of environment variables that are."""
    if _WHOLE_ADDRESS.fullmatch(text):
        return bare_address(text)
    text = _ADDRESS.sub(lambda found: found[1] + _bare(found[2]), text)
    text = _ASSIGNED.sub(lambda found: found[1] + LEFT_OUT, text)
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST and value in text and _SECRET_VARIABLE.search(_snake(name)):
            text = text.replace(value, LEFT_OUT)
    return text


def bare_address(address: str) -> str:
    """An address without user, password, query and fragment, whatever signs are in it."""
    scheme, mark, rest = address.partition("://")
    return f"{scheme}{mark}{_bare(rest)}" if mark else without_secrets(address)


def without_secret_settings(value: Any) -> Any:
    """A plain config (mappings, lists, scalars) without what is secret in it; `LEFT_OUT` stands in its place."""
    if isinstance(value, Mapping):
        return {
            key: LEFT_OUT if is_secret_name(str(key)) and _is_text(item) else without_secret_settings(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [without_secret_settings(item) for item in value]
    if not isinstance(value, str):
        return value
    return without_secrets(bare_address(value) if _ONE_ADDRESS.fullmatch(value) else value)


def is_secret_name(name: str) -> bool:
    """Whether a setting of this name holds a secret: ``api_key``, ``hf_token``, ``password``."""
    return _SECRET_NAME.search(_snake(name)) is not None


def _bare(rest: str) -> str:
    """What stands behind ``://``, without user, password, query and fragment."""
    head, cut, tail = re.match(r"([^?#]*)([?#]?)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]
    authority, slash, path = head.partition("/")
    host = authority.rpartition("@")[2]
    if (not _HOST.fullmatch(host) and "@" in rest) or (not slash and "@" in tail):
        return LEFT_OUT  # an unescaped slash, question mark or hash in the password may have cut it short
    end = re.search(r"[\]),.;:]*$", tail)[0] if cut else ""  # type: ignore[index]
    return f"{host}{slash}{_without_keys(_ADDRESS.sub(lambda found: found[1] + _bare(found[2]), path))}{end}"


def _without_keys(path: str) -> str:
    """The path of an address without its parts that look like keys."""
    parts = path.split("/")
    shown = []
    for place, (before, part) in enumerate(zip(["", *parts], parts, strict=False)):
        named = bool(part) and place < len(parts) - 1 and is_secret_name(before)
        commit = before in _BEFORE_COMMITS and _COMMIT.fullmatch(part) is not None
        shown.append(LEFT_OUT if named or (not commit and _KEY_IN_PATH.search(part)) else part)
    return "/".join(shown)


def _snake(name: str) -> str:
    """``HF_TOKEN``, ``hfToken`` and ``hf.token`` as ``hf_token``."""
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())


def _is_text(value: Any) -> bool:
    """Numbers and switches are no secrets: ``tokens: 49`` is the size of a network."""
    return isinstance(value, str) and value not in ("", "???")
