"""Weight files: from a path or an address to a digest-checked local file and its tensors, without running code.

Safetensors and ONNX hold data only. A torch checkpoint is a pickle, which can name any function to call while it is
read; it is read with ``weights_only=True``, which refuses everything but tensors and plain containers.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeGuard
from urllib.parse import urlsplit

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from cloakbench.models.download import DownloadError, OfflineError, download, file_sha256
from cloakbench.models.weight_lock import WeightChangedError, hub_folder, keep_first


class WeightError(ValueError):
    """A weight file is missing, is not the one asked for, or cannot be used; one line saying what and how to fix it."""


@dataclass(frozen=True)
class WeightFile:
    """A weight file somebody else published.

    Attributes:
        path: where the file lies, absolute or relative to the working directory; None: in torch's hub folder
            (``TORCH_HOME``), under a name made from the first address.
        urls: mirrors, tried in order when the file is not there.
        member: file inside the zip or tar archive at the addresses; None when they serve the file itself.
        sha256: digest the file (never the archive) must have; None keeps to the first one seen.
        state_key: entry of a checkpoint that holds the state dict; None when the file is the state dict.
        strip_prefix: taken off the front of parameter names, such as ``module.`` of data-parallel training.
    """

    path: str | None = None
    urls: Sequence[str] = field(default=(), repr=False)  # may hold passwords
    member: str | None = None
    sha256: str | None = None
    state_key: str | None = None
    strip_prefix: str = ""

    def __post_init__(self) -> None:
        if self.path is None and not self.urls:
            raise WeightError("a weight file needs a path or an address: set weights.path or weights.urls")
        object.__setattr__(self, "urls", tuple(self.urls))
        if self.sha256 is not None and not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise WeightError(f"weights.sha256 must be 64 lower-case hexadecimal digits, got {self.sha256!r}")

    @property
    def place(self) -> Path:
        """Where the file lies, or would."""
        if self.path is not None:
            return Path(self.path)
        url = self.urls[0]
        # The address is part of the name: many models are published as `model.pth`.
        origin = hashlib.sha256(url.encode()).hexdigest()[:16]
        return hub_folder() / f"{origin}-{Path(self.member or urlsplit(url).path).name}"

    def resolve(self, page: str = "") -> tuple[Path, str]:
        """The local file and its sha256, fetched first when it is missing and there are ``urls``.

        Args:
            page: where the file is published; named when it is missing and cannot be fetched.

        Raises:
            WeightError: the file is missing or empty, could not be fetched, or has another digest than published or,
                where none is published, than at its first use.
        """
        path = self.place
        if not path.exists() and self.urls:
            try:
                download(self.urls, path, self.sha256, self.member)
            except OfflineError as error:
                raise WeightError(str(error)) from error
            except DownloadError as error:
                raise WeightError(f"{error}; check weights.urls, or put the file at {path}") from error
        if not path.is_file():
            source = f" (from {page})" if page else ""
            raise WeightError(
                f"no weight file at {path}: put it there{source}, or set weights.path or CLOAKBENCH_WEIGHTS"
            )
        if path.stat().st_size == 0:
            raise WeightError(f"{path} is empty: fetch it again")
        digest = file_sha256(path)
        if self.sha256 is None:
            self._keep_first(path, digest)
        elif digest != self.sha256:
            raise WeightError(
                f"{path} has sha256 {digest}, expected {self.sha256}: fetch it again, or correct weights.sha256"
            )
        return path, digest

    @staticmethod
    def _keep_first(path: Path, digest: str) -> None:
        try:
            keep_first(path, digest)
        except WeightChangedError as error:
            raise WeightError(str(error)) from error
        except OSError as error:
            raise WeightError(f"cannot record the digest of {path} ({error}): set weights.sha256={digest}") from error


def read_state_dict(path: Path, state_key: str | None = None, strip_prefix: str = "") -> dict[str, Tensor]:
    """Parameter name to CPU tensor, floating point as float32, of a ``.safetensors`` or torch file.

    Args:
        path: a digest-checked local file.
        state_key: see ``WeightFile``.
        strip_prefix: see ``WeightFile``.

    Raises:
        WeightError: reading would run code, the file is corrupt, or there is no state dict where it should be.
    """
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    if state_key is not None:
        if not isinstance(content, Mapping) or state_key not in content:
            raise WeightError(f"{path} has no entry {state_key!r}: set weights.state_key to {_state_dicts_in(content)}")
        content = content[state_key]
    if not _is_state_dict(content):
        raise WeightError(f"{path} is not a state dict itself: set weights.state_key to {_state_dicts_in(content)}")
    if strip_prefix and not any(name.startswith(strip_prefix) for name in content):
        raise WeightError(
            f"no parameter in {path} starts with {strip_prefix!r} (the first is {next(iter(content))!r}): "
            "correct weights.strip_prefix"
        )
    return {
        name.removeprefix(strip_prefix): tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in content.items()
    }


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise WeightError(f"{path} is not readable as safetensors ({_first_line(error)}): fetch it again") from error


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = f"would run code ({named[1]})" if named else "needs more than plain tensors, or the file is corrupt"
        raise WeightError(
            f"reading {path} {reason}; nothing was run: get it as .safetensors, or convert it where you trust it"
        ) from error
    except Exception as error:  # corrupt bytes make the reader fail in many ways
        raise WeightError(f"{path} is not readable as a torch file ({_first_line(error)}): fetch it again") from error


def _is_state_dict(content: object) -> TypeGuard[Mapping[str, Tensor]]:
    return (
        isinstance(content, Mapping)
        and len(content) > 0
        and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items())
    )


def _state_dicts_in(content: object) -> str:
    entries = content.items() if isinstance(content, Mapping) else ()
    names = [str(name) for name, value in entries if _is_state_dict(value)]
    return f"one of {', '.join(names)}" if names else "an entry that holds one (none was found)"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].strip()
