"""FaceCloak from file to file: rendered photographs of one person, protected from a single other one."""

from __future__ import annotations

from pathlib import Path

import pytest
from albums import pixels, protect, rows, write_points
from PIL import Image

from cloakbench.bench.core.errors import ConfigError
from cloakbench.datasets.synthetic.world import SyntheticWorld

MORE = (
    "method=facecloak",
    "method.steps=4",
    "method.view_count=3",
    "model@surrogate=cosface_ir50",
    "world.auxiliary_identities=5",
    "impostors.impostor_identities=4",
    "format=png",
    "force=true",
)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A folder of three photos beside ``me.png``, a fourth."""
    world = SyntheticWorld(identities=1, references_per_identity=1, probes_per_identity=3, distractors=0)
    probes, reference = world.faces("probe"), world.faces("reference")
    assert probes.landmarks is not None and reference.landmarks is not None
    names = [f"album/{place}.png" for place in range(3)]
    (tmp_path / "album").mkdir()
    for name, image in zip([*names, "me.png"], [*probes.images, *reference.images], strict=True):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / name)
    write_points(tmp_path / "points.csv", [*names, "me.png"], reference.landmarks[0])
    return tmp_path / "album"


def test_one_photo_of_a_person_protects_the_others(album: Path, faces_cache: Path) -> None:
    more = (*MORE, f"references={album.parent / 'me.png'}", f"paths.cache={faces_cache}")
    with pytest.raises(ConfigError, match="facecloak needs a generator: choose one with generator=NAME"):
        protect(album, "out", *more)
    outcome = protect(album, "out", *more, "generator=embedded")
    assert outcome.protected == 3 and not outcome.problems
    assert any("Generator embedded learnt from rendered faces" in line for line in outcome.warnings)
    table = rows(album.parent / "out")
    assert (table["cosine_crop_cosface_ir50"] < 0.5).all(), "one mask, learnt from another photo, hides them all"
    for name in table.index:
        change = (pixels(album.parent / "out" / str(name)).short() - pixels(album / str(name)).short()).abs()
        assert 8 < change.max() <= 32


def test_a_generator_of_any_faces_brings_no_warning(album: Path, faces_cache: Path) -> None:
    more = (*MORE, f"references={album.parent / 'me.png'}", f"paths.cache={faces_cache}", "method.steps=1")
    assert not any("enerator" in line for line in protect(album, "out", *more, "generator=augment").warnings)
