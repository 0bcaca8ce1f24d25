"""What a failed call of the command line printed."""

from __future__ import annotations

import subprocess


def one_error(done: subprocess.CompletedProcess[str]) -> str:
    """The only error line of a failed call."""
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    return errors[0]
