"""The presets of the veils' tables and figures: each is planned, and they share whatever is equal."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.experiment.prepare import prepare

pytestmark = pytest.mark.slow

CONF = Path(__file__).parents[3] / "conf" / "experiment"
PRESETS = sorted(path.stem for path in CONF.glob("veil_table*.yaml")) + sorted(
    path.stem for path in CONF.glob("veil_figure*.yaml")
)
SMALL = (
    "dataset.identities=3",
    "dataset.references_per_identity=2",
    "dataset.probes_per_identity=2",
    "dataset.distractors=10",
    "dataset.auxiliary_identities=2",
    "dataset.impostor_identities=0",
)
SURROGATES = ("softmax_ir", "cosface_ir", "arcface_ir")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory, faces_cache: Path) -> dict[str, dict[str, tuple[str, ...]]]:
    """Preset to the keys of the units of each cell, by what progress calls it."""
    results = tmp_path_factory.mktemp("veils")
    found = {}
    for name in (*PRESETS, "veil_efficiency"):
        words = [f"experiment={name}", *SMALL, f"paths.results={results}", f"paths.cache={faces_cache}"]
        [publication] = prepare(compose_config(words)).publications.values()
        found[name] = {
            cell.label: tuple(planned.unit.key for planned in units)
            for cell, units in zip(publication.cells, publication.units, strict=True)
        }
    return found


def test_there_is_a_preset_for_every_table_and_figure_of_results() -> None:
    assert [
        *(f"veil_table{number}" for number in (1, 2, 3)),
        *(f"veil_figure{number}" for number in (3, 4, 5, 6, 7, 8)),
    ] == PRESETS


@pytest.mark.slow
def test_a_veil_is_made_once_for_all_presets(keys: dict[str, dict[str, tuple[str, ...]]]) -> None:
    made: dict[str, set[tuple[str, ...]]] = {}
    for cells in keys.values():
        for label, units in cells.items():
            if " on " in label:
                made.setdefault(label, set()).add(units)
    assert {label for label, units in made.items() if len(units) > 1} == set()
    for surrogate in SURROGATES:
        holding = {name for name, cells in keys.items() if f"veil on {surrogate}" in cells}
        few = {"veil_figure5", "veil_figure8", "veil_efficiency"} if surrogate != "arcface_ir" else set()
        assert holding == set(keys) - few


def test_presets_have_what_their_table_or_figure_shows(keys: dict[str, dict[str, tuple[str, ...]]]) -> None:
    def methods(name: str) -> set[str]:
        return {label.partition(" on ")[0] for label in keys[name]} - {"identity", "random_sign 8/255"}

    assert methods("veil_table1") == {"veil", "v_uap"}
    assert methods("veil_table3") == {"veil", "v_uap", "veil_without_variance"}
    assert methods("veil_figure4") == {"veil", "veil_without_variance"}
    alphas = {"veil", *(f"veil (alpha={alpha})" for alpha in (0.4, 0.6, 0.8))}
    assert methods("veil_figure6") == alphas
    without = {label.replace("veil", "veil_without_variance") for label in alphas}
    assert methods("veil_figure8") == alphas | without
    assert "avih" in methods("veil_efficiency")


@pytest.mark.parametrize("name", [*PRESETS, "veil_efficiency"])
def test_the_photos_of_a_preset_are_known_before_they_are_made(name: str) -> None:
    """Doctor's estimate rests on them: 20 people, 10 photos of each role."""
    visual = compose_config([f"experiment={name}"]).protocols.visual
    assert visual.identities == 20
    assert list(visual.photos) == ["reference", "probe"]
