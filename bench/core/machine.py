"""Failures of the machine, as opposed to those of a method or a network: device, memory, disk, permissions.

They say nothing about what was being measured, so they end the run with one line and are never stored: the same command
works as soon as the machine does.
"""

from __future__ import annotations

import errno
import os
import re
from concurrent.futures import BrokenExecutor

import torch

from cloakbench.bench.core.errors import ConfigError, reason_of

_DISK = (errno.ENOSPC, errno.EDQUOT)
_OTHERS = (errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EPERM, errno.EIO, errno.EROFS, errno.ENOMEM, errno.EAGAIN)
_ERRNOS = frozenset({*_DISK, *_OTHERS, errno.ENODEV, errno.ESTALE})
_SAID = (*_DISK, errno.EMFILE, errno.EIO, errno.ENOMEM)
_WORDS = re.compile(
    "CUDA|cuBLAS|CUBLAS|cuDNN|CUDNN|NVIDIA driver|HIP error|MPS backend|out of memory|not enough memory"
    "|DefaultCPUAllocator|can't allocate memory|can't start new thread|"
    + "|".join(re.escape(os.strerror(number)) for number in _SAID)
)
"""What torch says in a plain RuntimeError when the machine is at fault. ``cuda:0`` in small letters is a place, which
mistakes of a method name too."""

_MEMORY = re.compile(r"memory|DefaultCPUAllocator")
_REMEDIES = {
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "close other programs",
    errno.EACCES: "mend the permissions",
    errno.EPERM: "mend the permissions",
    errno.EROFS: "choose a folder that can be written",
}
_DEVICES = ("cpu", "cuda", "mps")

FULL_PRECISION = "fp32"
PRECISIONS = (FULL_PRECISION, "tf32", "bf16")
"""In which recognisers may compute; in another than the first, results and their keys differ."""


class MachineError(RuntimeError):
    """The machine failed; the message is one line and says what to do. Finished work is kept."""


def machine_trouble(problem: BaseException) -> str | None:
    """One line if ``problem``, or what it was raised from, is a failure of the machine; None if it is not."""
    seen: list[BaseException] = []  # ``raise error from error`` goes in a circle
    cause: BaseException | None = problem
    while cause is not None and cause not in seen:
        if _is_machine(cause):
            return f"{_words(cause)}: {_remedy(cause)}, then run the same command again; finished work is kept"
        seen.append(cause)
        cause = cause.__cause__
    return None


def _is_machine(problem: BaseException) -> bool:
    if isinstance(problem, MachineError | MemoryError | BrokenExecutor | torch.OutOfMemoryError):
        return True
    if isinstance(problem, OSError):
        return problem.errno in _ERRNOS
    # A subclass such as NotImplementedError names the backend when a method asks for what it cannot do.
    plain = type(problem) in (RuntimeError, AssertionError) or isinstance(problem, torch.AcceleratorError)
    return plain and _WORDS.search(str(problem)) is not None


def _words(problem: BaseException) -> str:
    """What happened, without advice for programmers."""
    if isinstance(problem, MemoryError) and not str(problem):
        return "out of memory"
    if isinstance(problem, OSError):
        return (problem.strerror or str(problem)) + (f" ({problem.filename})" if problem.filename else "")
    return reason_of(problem).rstrip(".")


def _remedy(problem: BaseException) -> str:
    if isinstance(problem, OSError):
        number = problem.errno or 0
        if number in _DISK:
            return "free some space"
        return _REMEDIES.get(number, "mend the cause")
    if isinstance(problem, MemoryError) or _MEMORY.search(str(problem)):
        return "free memory, or take fewer workers (runtime.workers=1) or smaller chunks (plan.chunk_identities=5)"
    return "see to the device, or choose another with runtime.device"


def checked_device(text: object, setting: str = "runtime.device") -> torch.device:
    """The device that a setting names, which exists and takes a tensor.

    Raises:
        ConfigError: it does not; one line with what this machine has.
    """
    present = _present()
    refused = f"{setting} is {text}: {{}}; here it can be {', '.join(present)}"
    refused += " (runtime=cpu)" if setting == "runtime.device" and len(present) == 1 else ""
    try:
        device = torch.device(text)  # type: ignore[arg-type]
    except (RuntimeError, TypeError) as problem:
        raise ConfigError(refused.format("there is no such device")) from problem
    if device.type not in _DEVICES:
        raise ConfigError(refused.format("nothing is computed there"))
    if device.type not in present:
        raise ConfigError(refused.format(_why_absent(device)))
    if str(device) not in present:
        raise ConfigError(refused.format("this machine has no device of that number"))
    if device.type != "cpu":
        _try_out(device, setting)
    return device


def _present() -> list[str]:
    """Names of the devices of this machine."""
    gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return ["cpu", *(["cuda", *gpus] if gpus else []), *(["mps"] if torch.backends.mps.is_available() else [])]


def _why_absent(device: torch.device) -> str:
    if device.type == "cuda" and not torch.backends.cuda.is_built():
        return "this torch was built without CUDA (take the torch of your CUDA version)"
    if device.type == "cuda":
        return "torch finds no CUDA device (is an NVIDIA driver installed?)"
    return "this machine has no such device"


def _try_out(device: torch.device, setting: str) -> None:
    """A device may be listed and yet be full, or kept by another process."""
    try:
        torch.zeros(1, device=device).add_(1).item()
    except (RuntimeError, AssertionError) as problem:
        raise ConfigError(f"{setting} is {device}: it cannot be used ({reason_of(problem)})") from problem
