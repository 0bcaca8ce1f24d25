"""Faces that a data set does not have: one line that names who needs them and the settings that bring them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from omegaconf import DictConfig
from PIL import Image

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.core.errors import ConfigError
from cloakbench.bench.experiment.prepare import prepare
from cloakbench.bench.experiment.run import run
from cloakbench.datasets.synthetic.world import SyntheticWorld

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"
PEOPLE, PHOTOS = 4, 5


@pytest.fixture(scope="module")
def everybody(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four people with five aligned photos each, and nobody else."""
    folder = tmp_path_factory.mktemp("everybody")
    world = SyntheticWorld(
        seed=7, identities=PEOPLE, references_per_identity=1, probes_per_identity=PHOTOS, distractors=0,
        auxiliary_identities=0, impostor_identities=0,
    )  # fmt: skip
    for row, image in enumerate(world.faces("probe").images):
        (folder / f"p{row // PHOTOS}").mkdir(exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"p{row // PHOTOS}" / f"{row % PHOTOS}.png")
    return folder


def folder(root: Path, results: Path, *more: str) -> DictConfig:
    words = ["experiment=tiny", "method=fgsm", "dataset=folder", "dataset.aligned=true", f"dataset.root={root}"]
    dropped = ["~dataset.identities", "~dataset.distractors"]  # the tiny experiment's, of the rendered world
    small = ["dataset.auxiliary_identities=0", "dataset.impostor_identities=0", "dataset.references_per_identity=2"]
    paths = [f"paths.results={results}", "runtime.workers=0", "dataset.workers=0", "~transforms.jpeg"]
    return compose_config([*words, *dropped, *small, *paths, *more], config_dirs=[str(CONFIG_DIR)])


def test_nobody_left_as_distractor_names_the_ways_out(everybody: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        prepare(folder(everybody, tmp_path))
    said = str(caught.value)
    assert "data set folder has no distractor faces, which identification needs" in said
    for way_out in ("dataset.max_identities=N", "dataset.distractor_root=FOLDER", "'~protocols.identification'"):
        assert way_out in said
    assert "\n" not in said


def test_one_person_alone_is_not_told_to_be_divided(everybody: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "p0").symlink_to(everybody / "p0")
    with pytest.raises(ConfigError, match=r"distractor_root=FOLDER") as caught:
        prepare(folder(alone, tmp_path))
    assert "max_identities" not in str(caught.value)


def test_the_first_way_out_works(everybody: Path, tmp_path: Path) -> None:
    experiment = prepare(folder(everybody, tmp_path, "dataset.max_identities=2"))
    assert len(experiment.faces["distractor"]) == 2


def test_without_identification_the_run_goes_through_with_verification_alone(
    everybody: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING"):
        outcome = run(folder(everybody, tmp_path, "~protocols.identification", "protocols.verification.fars=[0.5]"))
    assert outcome.problems == []
    assert "no impostor faces" in caplog.text and "dataset.impostor_identities=N" in caplog.text
    found = outcome.results.measurements
    assert set(found["protocol"]) == {"verification", "quality"}
    assert found.query("protocol == 'verification'")["value"].map(math.isnan).all()  # gaps: nobody to calibrate on
    assert (outcome.folder / "report.md").exists()


@pytest.mark.slow
def test_verification_alone_has_rates_where_there_are_impostors(tiny_overrides: list[str]) -> None:
    words = [*tiny_overrides, "method=fgsm", "~protocols.identification", "dataset.distractors=0"]
    words += ["protocols.verification.fars=[0.1]", "~transforms.jpeg", "+model@targets.tiny_nan=tiny_nan"]
    outcome = run(compose_config(words, config_dirs=[str(CONFIG_DIR)]))
    assert [problem for problem in outcome.problems if "tiny_nan returned NaN" in problem]
    rates = outcome.results.measurements.query("metric == 'dodging_far_1e-1' and judge == 'tiny2'")
    assert not rates["value"].map(math.isnan).any()


def test_a_gallery_of_one_photo_is_enough(tiny_overrides: list[str]) -> None:
    config = compose_config([*tiny_overrides, "method=fgsm", "dataset.distractors=1"], config_dirs=[str(CONFIG_DIR)])
    assert len(prepare(config).faces["distractor"]) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dataset.references_per_identity=0"], r"fgsm needs references, .*: dataset.references_per_identity=N"),
        (["method=opom_convex_hull", "dataset.references_per_identity=0"], "opom_convex_hull needs references"),
        (
            ["method=tip_im", "dataset.auxiliary_identities=0"],
            r"tip_im needs auxiliary.*: dataset.auxiliary_id",
        ),
        (["method.objective=aim", "dataset.auxiliary_identities=0"], "fgsm needs aim"),
        (["method.objective=aim", "dataset.auxiliary_images=1"], "fgsm needs somebody to aim at"),
        (["dataset.distractors=0"], r"no distractor faces.*dataset.distractors=N.*'~protocols.identification'"),
        (["dataset.identities=0"], r"no probe faces.*dataset.identities=N"),
        (["dataset.probes_per_identity=0"], "no probe faces.*dataset.probes_per_identity=N"),
    ],
)
def test_what_a_method_or_protocol_lacks_is_one_line(tiny_overrides: list[str], words: list[str], said: str) -> None:
    config = compose_config([*tiny_overrides, "method=fgsm", *words], config_dirs=[str(CONFIG_DIR)])
    with pytest.raises(ConfigError, match=said) as caught:
        prepare(config)
    assert "\n" not in str(caught.value)


def test_a_transform_too_strong_for_the_photos_is_one_line(tiny_overrides: list[str]) -> None:
    words = ["method=fgsm", "+transform@transforms.b=gaussian_blur", "transforms.b.sigma_px=50"]
    with pytest.raises(ConfigError, match=r"transform gaussian_blur_50: .*too large"):
        prepare(compose_config([*tiny_overrides, *words], config_dirs=[str(CONFIG_DIR)]))
