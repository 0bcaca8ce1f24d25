"""Keys of hidden photos stand in `store/keys` and nowhere else, in whatever form a file may hold a picture.

Looked through are all files of a run of the command line with veils beside other methods, the members of archives, the
pixels of pictures, the cells of tables, and what the command printed.
"""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from cloakbench.bench.cli.main import main
from cloakbench.bench.protocols.visual.figures import hidden_faces
from cloakbench.bench.report.archive import load_results
from cloakbench.bench.report.index import Measured
from cloakbench.bench.report.results import Results
from cloakbench.bench.store.store import Store

pytestmark = pytest.mark.usefixtures("pdf_left_out")

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"
LINE = 40
"""Of a picture, which is looked for."""


@dataclass(frozen=True)
class Published:
    folder: Path
    results: Results
    printed: str
    keys: list[Path]
    veils: list[Tensor]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, faces_cache: Path) -> Published:
    folder = tmp_path_factory.mktemp("secrets")
    out, err = io.StringIO(), io.StringIO()
    words = [
        "experiment=tiny_visual",
        "+method@protocols.visual.methods.veil=veil",
        "protocols.visual.methods.veil.steps=2",
        "~protocols.visual.methods.pgd",
        "~transforms.gaussian_noise",
        "variants=null",
        "protocol@protocols.identification=identification",
        "+method@methods.pgd=pgd",
        "methods.pgd.steps=1",
        f"paths.results={folder}",
        f"paths.cache={faces_cache}",
        "runtime.workers=0",
        "--config-dir",
        str(CONFIG_DIR),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", out)
        patch.setattr("sys.stderr", err)
        assert main(words) == 0, err.getvalue()
    [run] = (folder / "runs").iterdir()
    keys = sorted(path for path in (folder / "store" / "keys").rglob("*") if path.is_file())
    store = Store(folder / "store")
    stored = [store.read_tensors("keys", path.stem) for path in keys]
    veils = [veil for one in stored if one is not None for of_people in one[0].values() for veil in of_people]
    return Published(folder, load_results(run), out.getvalue() + err.getvalue(), keys, veils)


def forms(veil: Tensor) -> Iterator[bytes]:
    """A line of a veil ``[3, H, W]`` as a file may hold it: floats and grey levels, by channel or pixel, in words."""
    for values in (veil[0, LINE], veil.permute(1, 2, 0)[LINE].contiguous()):
        for exact in (values, values.double(), values.half()):
            yield exact.numpy().tobytes()
        yield (255 * values).round().to(torch.uint8).numpy().tobytes()
    start = veil[0, LINE, :8]
    for numbers in (start.tolist(), (255 * start).round().int().tolist()):
        words = str(numbers)[1:-1]
        yield words.encode()
        yield words.replace(" ", "").encode()


def unpacked(content: bytes) -> Iterator[bytes]:
    """What a file holds: its bytes, and those that it has packed."""
    yield content
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                yield from unpacked(archive.read(name))
    elif content.startswith((b"\x89PNG", b"\xff\xd8")):
        pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        yield pixels.tobytes()
        yield pixels.transpose(2, 0, 1).tobytes()
    elif content.startswith(b"PAR1"):
        yield pd.read_parquet(io.BytesIO(content)).to_json(double_precision=15).encode()


def holding(folder: Path, veils: list[Tensor]) -> list[Path]:
    """Files in which a line of some veil stands."""
    wanted = [form for veil in veils for form in forms(veil)]
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [path for path in files if any(form in part for part in unpacked(path.read_bytes()) for form in wanted)]


def test_no_key_is_in_anything_that_is_shown_or_handed_on(published: Published) -> None:
    assert len(published.veils) == 2 * 4, "two methods, four people"
    assert holding(published.folder, published.veils) == published.keys
    assert not any(form in published.printed.encode() for veil in published.veils for form in forms(veil))
    kinds = {path.suffix for path in published.folder.rglob("*")}
    assert {".zip", ".png", ".md", ".csv", ".parquet", ".json", ".yaml", ".safetensors"} <= kinds
    assert published.printed


def test_keys_are_for_their_owner_alone(published: Published) -> None:
    assert len(published.keys) == 2 * 2, "two methods, two chunks of people"
    assert {stat.S_IMODE(path.stat().st_mode) for path in published.keys} == {0o600}
    folders = {parent for path in published.keys for parent in path.parents if "keys" in parent.parts}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}


def test_a_key_would_be_found_in_every_kind_of_file(published: Published, tmp_path: Path) -> None:
    veil = published.veils[-1]
    levels = (255 * veil).round().to(torch.uint8)
    picture = io.BytesIO()
    Image.fromarray(levels.permute(1, 2, 0).contiguous().numpy()).save(picture, "PNG")
    (tmp_path / "figure.png").write_bytes(picture.getvalue())
    with zipfile.ZipFile(tmp_path / "examples.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("face.png", picture.getvalue())
    np.save(tmp_path / "raw.npy", veil.numpy())
    np.savez_compressed(tmp_path / "packed.npz", veil=levels.numpy())
    (tmp_path / "report.md").write_text(f"| {veil[0, LINE].tolist()} |", encoding="utf-8")
    pd.DataFrame({"veil": [levels[0, LINE].tolist()]}).to_parquet(tmp_path / "records.parquet")
    (tmp_path / "log.txt").write_text(f"veil {levels[0, LINE].tolist()}", encoding="utf-8")
    assert [path.name for path in holding(tmp_path, [veil])] == [
        "examples.zip",
        "figure.png",
        "log.txt",
        "packed.npz",
        "raw.npy",
        "records.parquet",
        "report.md",
    ]


def test_figures_show_the_methods_of_their_own_publication(published: Published) -> None:
    seen = {one.publication: set(one.protected) for one in published.results.examples}
    controls = {"identity", "random_sign 8/255"}
    assert seen == {"": {*controls, "pgd 8/255"}, "visual": {*controls, "keyed_blend", "veil"}}
    assert [one.publication for one in published.results.first_examples] == [""] * 2
    figure = hidden_faces(Measured(published.results), 0, 2)
    assert isinstance(figure, Figure)
    heads = [text.get_text() for text in figure.texts]
    assert len(heads) == 4 and heads[0] == "Original" and "pgd" not in "".join(heads).lower()
