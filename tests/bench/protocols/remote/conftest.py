"""Fixtures of the remote protocol."""

from emulators.remote_runs import emulator, protected, unbroken, words

__all__ = ["emulator", "protected", "unbroken", "words"]
