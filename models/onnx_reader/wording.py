"""Text of files and of errors as part of a one-line message."""

from __future__ import annotations


def one_line(error: BaseException) -> str:
    """The first line an error has to say."""
    return printable((str(error).strip().splitlines() or [type(error).__name__])[0].strip())


def printable(text: str | bytes) -> str:
    """Text of a file on one line, without signs that steer a terminal; protobuf gives damaged text as bytes."""
    text = text.decode(errors="replace") if isinstance(text, bytes) else text
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)
