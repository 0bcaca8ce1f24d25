"""Protection of real photographs."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from albums import (
    pixels,
    rows,
)
from real_pack import PACK, requires_pack

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.protect.run import run_protect
from cloakbench.bench.protect.settings import read_settings
from cloakbench.datasets.paste import crop_box


@requires_pack
def test_raw_photographs_keep_their_background_to_the_last_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The promise of the command, on photographs of three people with a public recogniser and our own detector."""
    pytest.importorskip("facenet_pytorch")
    monkeypatch.setenv("CLOAKBENCH_WEIGHTS", str(PACK / "weights"))
    people = ("hires_01", "Norah_Jones", "orl_s03")
    for person in people:
        for path in sorted((PACK / "faces" / person).iterdir())[:2]:
            (tmp_path / "photos" / person).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, tmp_path / "photos" / person)
    more = [
        "model@surrogate=mobilefacenet_y1",
        "model@target=mobilefacenet_casia",
        "method=pgd",
        "method.steps=5",
        "format=png",
    ]
    config = compose_config([f"input={tmp_path}/photos", f"output={tmp_path}/out", *more], config_name="protect")
    settings = read_settings(config)
    outcome = run_protect(settings)
    assert not outcome.problems
    table = rows(tmp_path / "out")
    for name, row in table.iterrows():
        original, copy = pixels(tmp_path / "photos" / str(name)), pixels(tmp_path / "out" / row["output"])
        [face] = settings.finder.open(tmp_path / "photos" / str(name)).faces
        left, top, right, bottom = crop_box(face.matrix, *original.shape[1:])
        change = (copy.short() - original.short()).abs()
        assert 4 <= change.max() <= 8
        change[:, top:bottom, left:right] = 0
        assert not change.any()
        assert (right - left) * (bottom - top) < 0.7 * original[0].numel() or "orl" in str(name)
    assert (table["cosine_photo_mobilefacenet_y1"] < 0.35).all()
    assert (table["cosine_photo_mobilefacenet_casia"] < 0.9).all()
    assert io.StringIO((tmp_path / "out" / "report.md").read_text()).readline() == "# Protected photos\n"
