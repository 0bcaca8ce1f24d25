"""Fixtures of the remote protocol."""

from emulators.remote_runs import emulator, unbroken, words

__all__ = ["emulator", "unbroken", "words"]
