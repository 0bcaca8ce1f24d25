"""Weight files: from a path or an address to a local file that is what it should be, checked by its digest.

What is in a file is read elsewhere (`cloakbench.models.state_dict`, `cloakbench.models.onnx_reader`); what it is that
holds no weights is said here, before anything remembers its digest.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from cloakbench.models.download import DownloadError, OfflineError, download, file_sha256
from cloakbench.models.file_format import not_regular, not_weights
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
        state_key: entry of a checkpoint that holds the state dict, with dots between entries of entries
            (``model.ema``); None when the file is the state dict.
        strip_prefix: taken off the front of parameter names, such as ``module.`` of data-parallel training; parameters
            without it are left out.
        ignore: parameters whose names, without the prefix, begin with one of these are left out, such as ``fc.`` of a
            classification head that the network does not have.
    """

    path: str | None = None
    urls: Sequence[str] = field(default=(), repr=False)  # may hold passwords
    member: str | None = None
    sha256: str | None = None
    state_key: str | None = None
    strip_prefix: str = ""
    ignore: str | Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.path is None and not self.urls:
            raise WeightError("a weight file needs a path or an address: set weights.path or weights.urls")
        for name in ("urls", "ignore"):
            given = getattr(self, name)
            object.__setattr__(self, name, (given,) if isinstance(given, str) else tuple(given or ()))
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

    def resolve(self, page: str = "", *, remember: bool = True) -> tuple[Path, str]:
        """The local file and its sha256, fetched first when it is missing and there are ``urls``.

        Args:
            page: where the file is published; named when it is missing and cannot be fetched.
            remember: keep to the digest from now on, where none is published. A caller that reads the file at once
                does so afterwards (`keep_to`), so that a file that cannot be read is never the one to keep to.

        Raises:
            WeightError: the file is missing, empty or holds no weights, could not be read or fetched, or has another
                digest than published or, where none is published, than at its first use.
        """
        path = self.place
        try:
            if not path.exists() and self.urls:
                self._fetch(path)
            return path, self._checked(path, page, remember)
        except OSError as error:
            reason = error.strerror or str(error)
            raise WeightError(f"{path} cannot be read ({reason}): check its permissions and its disk") from error

    def keep_to(self, path: Path, digest: str) -> None:
        """Remember the digest of a file that was read, where none is published.

        Raises:
            WeightError: it was another file at its first use, or that cannot be recorded.
        """
        if self.sha256 is not None:
            return
        try:
            keep_first(path, digest)
        except WeightChangedError as error:
            raise WeightError(str(error)) from error
        except OSError as error:
            raise WeightError(f"cannot record the digest of {path} ({error}): set weights.sha256={digest}") from error

    def _fetch(self, path: Path) -> None:
        try:
            download(self.urls, path, self.sha256, self.member)
        except OfflineError as error:
            raise WeightError(str(error)) from error
        except DownloadError as error:
            raise WeightError(f"{error}; check weights.urls, or put the file at {path}") from error

    def _checked(self, path: Path, page: str, remember: bool) -> str:
        """Digest of a file that is there and may hold weights."""
        source = f" from {page}" if page else ""
        if not path.exists():
            where = f" ({source.strip()})" if page else ""
            raise WeightError(
                f"no weight file at {path}: put it there{where}, or set weights.path or CLOAKBENCH_WEIGHTS"
            )
        if odd := not_regular(path):
            raise WeightError(f"{path} is {odd}")
        if path.stat().st_size == 0:
            raise WeightError(f"{path} is empty: fetch it again{source}")
        digest = file_sha256(path)
        if digest != self.sha256 and (odd := not_weights(path)):
            raise WeightError(f"{path} is {odd}{source}")
        if self.sha256 is not None and digest != self.sha256:
            raise WeightError(
                f"{path} has sha256 {digest}, expected {self.sha256}: fetch it again, or correct weights.sha256"
            )
        if remember:
            self.keep_to(path, digest)
        return digest
