"""Entries of the store: each kind as a file of an ordinary format with a place for its seal."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.lib import format as npy
from PIL import Image
from safetensors.torch import load, save
from torch import Tensor

from cloakbench.bench.core.files.seal import BLANK, DamagedError, open_json, sealed_json, unmarked
from cloakbench.bench.core.hashing import Inputs, canonical_json

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Modification time of zip members: the same photos give the same bytes."""

_ABOUT = "about.json"


def pack_tensors(tensors: Mapping[str, Tensor], inputs: Inputs, note: Any) -> bytes:
    """Safetensors with what they were made from and a JSON note; a blank seal stands in the metadata."""
    metadata = {"inputs": unmarked(canonical_json(inputs)), "note": unmarked(json.dumps(note)), "seal": BLANK}
    return save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata)


def unpack_tensors(content: bytes) -> tuple[dict[str, Tensor], Any]:
    """Tensors and note."""
    length = int.from_bytes(content[:8], "little")
    return load(content), json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["note"])


def array_parts(tensor: Tensor, chunks: Iterable[memoryview]) -> Iterator[bytes | memoryview]:
    """An uncompressed ``.npy`` of a tensor's bytes, to be followed by a seal."""
    header = io.BytesIO()
    description = {"descr": tensor[:0].numpy().dtype.str, "fortran_order": False, "shape": tuple(tensor.shape)}
    npy.write_array_header_1_0(header, description)
    yield header.getvalue()
    yield from chunks


def pack_photos(images: Tensor, names: Sequence[str], about: Mapping[str, Any], entry: str) -> bytes:
    """PNG files in one zip behind ``about.json``, which has a seal of its own; the zip's is in its comment."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(_ABOUT, _EPOCH), sealed_json(dict(about), f"{entry}/{_ABOUT}"))
        for row, (image, name) in enumerate(zip(images, names, strict=True)):
            png = io.BytesIO()
            Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(png, "PNG", compress_level=1)
            archive.writestr(zipfile.ZipInfo(_member_name(row, name), _EPOCH), png.getvalue())
        archive.comment = BLANK.encode()
    return buffer.getvalue()


def unpack_photos(content: bytes, entry: str) -> tuple[Tensor, dict[str, Any]]:
    """Photos uint8 ``[N, 3, H, W]`` and what is known about them."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        about = open_json(archive.read(_ABOUT), f"{entry}/{_ABOUT}")
        members = sorted(name for name in archive.namelist() if name.endswith(".png"))
        photos = [np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in members]
    return torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2).contiguous(), about


def read_about(file: IO[bytes], entry: str) -> dict[str, Any]:
    """What is known about stored photos, from the first member of their zip: the photos are not read.

    Raises:
        DamagedError: it does not match its seal.
    """
    header = file.read(30)
    size, name, extra = (int.from_bytes(header[place:stop], "little") for place, stop in ((18, 22), (26, 28), (28, 30)))
    if len(header) < 30 or name != len(_ABOUT) or extra or file.read(name) != _ABOUT.encode():
        raise DamagedError("it does not begin as it was written")
    return open_json(file.read(size), f"{entry}/{_ABOUT}")


def pack_frame(frame: pd.DataFrame) -> bytes:
    """A table as Parquet; the blank seal stands in the schema's metadata."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"seal": BLANK.encode()})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def unpack_frame(content: bytes) -> pd.DataFrame:
    """The table that was packed."""
    return pd.read_parquet(io.BytesIO(content))


def _member_name(row: int, image_id: str) -> str:
    """File name inside the zip: the row keeps the order, the id tells a person which photo it is."""
    readable = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in image_id)
    return f"{row:05d}-{readable[-80:]}.png"
