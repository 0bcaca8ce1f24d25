"""Environment of a run: versions, device, commit. Written beside every result."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("cloakbench", "torch", "torchvision", "timm", "lpips", "pytorch-msssim", "numpy", "scipy", "hydra-core")


def describe(*devices: str) -> dict[str, Any]:
    """Python, package versions, processor or accelerator, and the commit of the source tree when there is one."""
    import torch

    accelerators = [torch.cuda.get_device_name(device) for device in devices if device.startswith("cuda")]
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "device": ", ".join(devices),
        "accelerator": ", ".join(accelerators),
        "packages": {name: _version(name) for name in _PACKAGES},
        "commit": _commit(),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    """Short commit, with ``+changes`` when the tree differs from it; empty outside a checkout."""
    folder = Path(__file__).resolve().parent
    try:
        commit = _git(folder, "rev-parse", "--short=12", "HEAD")
        return commit + ("+changes" if _git(folder, "status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(folder: Path, *command: str) -> str:
    done = subprocess.run(["git", *command], cwd=folder, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
