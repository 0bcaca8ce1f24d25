"""Fixtures of the remote protocol."""

from emulators.remote_runs import emulator, words

__all__ = ["emulator", "words"]
