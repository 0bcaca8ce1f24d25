"""The estimate of `visual`: what attackers without a key ask of targets counts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.engine.device.devices import processes_of
from cloakbench.bench.engine.estimates import Speed
from cloakbench.bench.experiment.parts import asked_protocols
from cloakbench.bench.plan.plan import build_cells

CONFIG_DIR = Path(__file__).parents[2] / "support" / "conf"


@dataclass
class Watch:
    """A timer to which protecting costs nothing, a pass forward a second and one back two."""

    def cell_seconds(self, *_: object) -> float:
        return 0.0

    def speed(self, *_: object) -> Speed:
        return Speed(1.0, 2.0)

    classifier_speed = speed


def test_the_estimate_counts_what_attackers_ask_of_targets() -> None:
    config = compose_config(["experiment=tiny_onlookers"], config_dirs=[str(CONFIG_DIR)])
    [visual] = [one for one in asked_protocols(config).values() if one.name == "visual"]
    cells, photos, networks = len(build_cells(config, "protocols.visual.")), 4 * 3, 2
    pictures = 1 + 1 + 2  # numbers of photos held: difference, mean, known pairs
    learnt = 2 * (2 * 2 * 4 * (1 + 2) + 2 * photos)  # numbers, folds, steps, photos of a step; then two looks
    assert visual.photos(config, "protocols.visual.") == photos
    found = visual.seconds(config, "protocols.visual.", Watch())
    assert found == cells * (pictures * networks * photos + learnt) / max(1, processes_of(config))
