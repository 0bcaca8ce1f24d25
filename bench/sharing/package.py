"""Packages: a run as one file to hand in, and such a file as a folder again.

A package is a zip of the run's data, its settings, environment and manifest, and ``submission.json``, which has the
digest of every other file and the submitter's note. Photos are left out unless asked for: they may show people.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.core.files.regular_file import read_regular
from cloakbench.bench.core.files.whole_file import whole_file
from cloakbench.bench.report.archive import save_results
from cloakbench.bench.report.results import Results

ABOUT = "submission.json"
FORMAT = 1
_BESIDE = ("config.yaml", "environment.json", "manifest.csv")
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MOST_BYTES = 1 << 31


def pack(results: Results, folder: Path, work: Path, target: Path, note: str, *, photos: bool) -> None:
    """Write a run as a package. Equal runs and notes give equal bytes.

    Args:
        results: the run.
        folder: where its settings and environment lie.
        work: an empty folder to write into meanwhile.
        target: the file.
        note: of the submitter.
        photos: whether the photos that its figures show go with it.

    Raises:
        StoreError: something cannot be written.
    """
    save_results(results if photos else replace(results, examples=()), work)
    files = {f"data/{path.name}": read_regular(path) for path in sorted((work / "data").iterdir())}
    files |= {name: read_regular(folder / name) for name in _BESIDE if (folder / name).is_file()}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    about = {"format": FORMAT, "name": results.name, "note": note, "sha256": digests}
    files[ABOUT] = (json.dumps(about, indent=1, sort_keys=True) + "\n").encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            member = zipfile.ZipInfo(name, _EPOCH)
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, files[name])
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(target) as file:
        file.write(buffer.getvalue())


def unpack(package: Path, folder: Path) -> Mapping[str, Any]:
    """Write the files of a package into an empty folder; returns what ``submission.json`` says.

    Raises:
        ConfigError: it is no package, or one of its files is not what was packed.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(read_regular(package)))
        members = {one.filename: one for one in archive.infolist()}
        if sum(one.file_size for one in members.values()) > _MOST_BYTES:
            raise ValueError("it is larger than 2 GiB")
        about = json.loads(archive.read(ABOUT))
        digests = dict(about["sha256"])
        if about["format"] != FORMAT or not isinstance(about["note"], str):
            raise ValueError(f"it has format {about['format']!r}, this version reads {FORMAT}")
    except FileNotFoundError as problem:
        raise ConfigError(f"there is no file {package}: write check=FILE") from problem
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, NotImplementedError) as problem:
        raise ConfigError(f"{package} is no submission: {problem}; cloakbench submit RUN writes one") from problem
    if strange := sorted(set(members) ^ {*digests, ABOUT}):
        raise ConfigError(f"{package}: {strange[0]} is missing from the files or from {ABOUT}")
    for name, digest in digests.items():
        if not (name in _BESIDE or (name.startswith("data/") and Path(name).name == name.removeprefix("data/"))):
            raise ConfigError(f"{package}: a submission holds no {name!r}")
        content = archive.read(name)
        if hashlib.sha256(content).hexdigest() != digest:
            raise ConfigError(f"{package}: {name} is not what was packed")
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            file.write(content)
    return about
