"""Nuisances of a synthetic photo: everything that changes from one photo of a person to the next.

Angles are in radians, colours in linear light, lengths in inter-ocular distances unless they end in ``_px``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cloakbench.datasets.synthetic import palette
from cloakbench.datasets.synthetic.table import Draws, Traits

EXPRESSIONS = ("neutral", "smile", "surprise", "frown")
LABELS = ("glasses", "expression")


def sample_nuisances(photos: Sequence[str], people: Traits, *stream: object, scale: float = 1.0) -> Traits:
    """The circumstances of the photos called ``photos``, of the ``people`` in the same order.

    Each photo depends on ``(*stream, photo)``, its person and ``scale`` only. ``scale`` multiplies pose, light,
    occlusion and image faults; 1 is a mixed photo collection, 0.3 a photo booth. The columns ``LABELS`` are integers:
    glasses (0, 1) and expression (``EXPRESSIONS``).
    """
    draws = Draws(photos, "synthetic photo", *stream)

    def vary(deviation: float) -> Tensor:
        return draws.normal(deviation) * scale

    expression = draws.choice(len(EXPRESSIONS))
    smiling, surprised, frowning = (expression == kind for kind in (1, 2, 3))
    smile = torch.where(smiling, draws.uniform(0.5, 1.0), draws.uniform(-0.05, 0.22))
    teeth = smiling & draws.chance(0.6)
    lids = torch.where(smiling, draws.uniform(0.72, 0.92), draws.uniform(0.88, 1.08))
    columns: dict[str, Tensor] = {
        "expression": expression,
        "smile": torch.where(frowning, draws.uniform(-0.55, -0.25), smile),
        "mouth_open": torch.where(surprised, draws.uniform(0.08, 0.20), teeth * draws.uniform(0.02, 0.08)),
        "brow_lift": torch.where(
            surprised, draws.uniform(0.02, 0.10), torch.where(frowning, draws.uniform(-0.08, -0.035), 0.02 * smile)
        ),
        "lids": torch.where(surprised, draws.uniform(1.10, 1.32), lids),
        "gaze_x": vary(0.026),
        "gaze_y": vary(0.010),
        "yaw": vary(0.26),
        "pitch": vary(0.13),
        "roll": vary(0.05),
        "make_up_today": draws.uniform(0.5, 1.2),
    }
    # light
    columns |= {
        "light_x": vary(0.65),
        "light_y": -0.42 + vary(0.36),
        "light": draws.uniform(0.58, 1.25),
        "light_colour": 1 + draws.normal_colour(0.13 * scale, (0.6, 0.2, 0.9)),
        "ambient": draws.uniform(0.18, 0.55),
        "ambient_side": vary(0.15),
        "ambient_colour": 1 + draws.normal_colour(0.13 * scale, (0.5, 0.2, 0.8)),
    }
    # things worn or held
    glasses = draws.chance(people.column("glasses_habit"))
    columns |= {
        "glasses": glasses.long(),
        "sunglasses": (glasses & draws.chance(0.10)).float(),
        "reflection": draws.uniform(0.0, 0.25),
        "occluder": draws.chance(0.14 * scale).float(),
        "occluder_x": draws.uniform(-1.1, 1.1),
        "occluder_y": draws.uniform(0.3, 2.0),
        "occluder_width": draws.uniform(0.25, 0.60),
        "occluder_height": draws.uniform(0.20, 0.50),
        "occluder_turn": draws.uniform(-1.5, 1.5),
        "occluder_colour": palette.CLOTH[draws.choice(len(palette.CLOTH))],
        "cloth": palette.CLOTH[draws.choice(len(palette.CLOTH))] * draws.uniform(0.7, 1.2)[:, None],
        "hair_line_today": vary(0.035),
        "hair_x_today": draws.uniform(-0.03, 0.03),
        "hair_y_today": draws.uniform(-0.03, 0.03),
    }
    # surroundings
    columns |= {
        "setting": palette.SETTING[draws.choice(len(palette.SETTING))] * draws.uniform(0.6, 1.15)[:, None],
        "setting_2": palette.SETTING[draws.choice(len(palette.SETTING))] * draws.uniform(0.6, 1.15)[:, None],
        "setting_x": draws.uniform(-1, 1),
        "setting_y": draws.uniform(-1, 1),
        "setting_zoom": draws.uniform(0.10, 0.40),
        "setting_blend": draws.normal(0.6),
        "setting_contrast": draws.uniform(0.15, 0.75),
    }
    # the camera and what became of the file
    columns |= {
        "exposure": torch.exp(vary(0.16)),
        "cast": torch.exp(draws.normal_colour(0.06 * scale, (1.0, 0.5, 1.0))),
        "gamma": torch.exp(vary(0.09)),
        "saturation": draws.uniform(0.70, 1.15),
        "blur": draws.chance(0.45) * draws.uniform(0.2, 1.0) * min(1.0, scale),
        "low_resolution": draws.chance(0.15 * scale).float(),
        "sensor_noise": draws.uniform(0.0, 0.022) * min(1.3, scale),
        "compression": draws.chance(0.60) * draws.uniform(0.15, 0.90) * min(1.0, scale),
        "shift_x_px": vary(1.1),
        "shift_y_px": vary(1.1),
        "zoom": 1 + vary(0.022),
        "turn": vary(0.025),
    }
    return Traits(columns)
