"""Reading a form with files, ``multipart/form-data`` (RFC 7578), and one without."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

_BOUNDARY = re.compile(r'boundary="?([^";]+)"?', re.IGNORECASE)
_NAME = re.compile(rb'(?i)content-disposition:[^\r\n]*;\s*name="([^"]*)"')
_FILE = re.compile(rb"(?i)content-disposition:[^\r\n]*;\s*filename\*?=")


class NoFormError(ValueError):
    """The body is no form."""


def read_form(content_type: str, body: bytes) -> tuple[dict[str, str], dict[str, bytes]]:
    """Fields and files of a form, by their names.

    Raises:
        NoFormError: the body is none.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded" or not body:
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)), {}
    found = _BOUNDARY.search(content_type)
    if kind != "multipart/form-data" or found is None:
        raise NoFormError(f"the body is {kind or 'of no type'}, not a form")
    fields, files = {}, {}
    mark = b"--" + found[1].strip().encode()
    for part in (b"\r\n" + body).split(b"\r\n" + mark)[1:]:
        if part.startswith(b"--"):
            return fields, files
        head, blank, content = part.partition(b"\r\n\r\n")
        name = _NAME.search(head)
        if not blank or name is None:
            break
        label = name[1].decode("utf-8", "replace")
        if _FILE.search(head):
            files[label] = content
        else:
            fields[label] = content.decode("utf-8", "replace")
    raise NoFormError("the form is cut off")
