"""Identity of a synthetic face: the parameters of a person that are the same in all photos of that person.

Lengths are in inter-ocular distances, ``u`` to the right and ``v`` downwards from the point between the eyes. Means
follow adult anthropometry (a pupil distance of 63 mm is the unit: eye opening 30 mm, iris 12 mm, nose 35 mm, mouth
50 mm, chin 112 mm below the eyes); the deviations were tuned by eye and by how well small networks tell people apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cloakbench.datasets.synthetic import palette
from cloakbench.datasets.synthetic.hairstyles import sample_hair
from cloakbench.datasets.synthetic.table import Draws, Traits

AGE_BUCKETS = ("child", "youth", "adult", "middle-aged", "senior")
COMPLEXIONS = 5  # "complexion group", from lightest to darkest; not a race
MOLES = 4
LABELS = ("gender", "age", "complexion", "hair_color")


def sample_identities(names: Sequence[str], *stream: object, scale: float = 1.0) -> Traits:
    """The people called ``names``; each depends on ``(*stream, name)`` and ``scale`` only.

    Args:
        names: one per person.
        stream: what the random streams are called, such as the world's seed.
        scale: multiplies the variation between people; 1.2 to 1.4 makes people as easy to tell apart as on photos.

    Returns:
        One row per person. The columns ``LABELS`` are integers: gender (0 feminine, 1 masculine), age bucket,
        complexion group, hair colour (``palette.HAIR_NAMES``).
    """
    draws = Draws(names, "synthetic identity", *stream)

    def vary(deviation: float) -> Tensor:
        return draws.normal(deviation) * scale

    gender, bucket, group = draws.choice(2), draws.choice(len(AGE_BUCKETS)), draws.choice(COMPLEXIONS)
    masculine = gender == 1
    age = (bucket + draws.uniform(0.05, 0.95)) / len(AGE_BUCKETS)
    child = ((0.25 - age) / 0.10).clamp(0, 1)  # falls from 1 to 0 around the end of the first bucket
    old = ((age - 0.42) / 0.5).clamp(0, 1)
    grown = 1 - child
    sex = (gender * 2 - 1) * (0.35 + 0.65 * grown)  # children differ less
    east = (group == 1).float()
    dark = (group - 1.5).clamp(min=0)

    columns: dict[str, Tensor] = {"gender": gender, "age": bucket, "complexion": group}

    # head
    columns |= {
        "face_width": 1.10 + vary(0.045) + 0.02 * sex + 0.05 * child,
        "jaw_power": 2.25 + vary(0.30) + 0.22 * sex + 0.35 * old + 0.30 * child,
        "jaw_roundness": 0.60 + vary(0.045) - 0.04 * sex - 0.05 * child - 0.05 * old,
        "chin": 1.78 + vary(0.07) + 0.045 * sex - 0.22 * child,
        "cheek_line": 0.30 + vary(0.07) + 0.10 * child,
        "cheek": vary(0.07) + 0.10 * child - 0.06 * old,
        "brow_ridge": 0.08 + vary(0.025) + 0.035 * sex - 0.06 * child,
        "eye_socket": 0.10 + vary(0.025) + 0.05 * old - 0.05 * child,
        "chin_bump": 0.10 + vary(0.045) - 0.04 * child,
        "asymmetry": vary(0.010),
        "ear": 0.17 + vary(0.025) + 0.03 * old,
        "ear_height": 0.22 + vary(0.05),
        "ear_out": 0.05 + vary(0.025) + 0.01 * child,
    }
    # eyes and brows
    columns |= {
        "eye_x": 0.5 + vary(0.020),
        "eye_width": 0.245 + vary(0.018) + 0.022 * child - 0.004 * sex - 0.012 * old,
        "eye_upper": 0.106 + vary(0.015) + 0.034 * child - 0.007 * sex - 0.022 * old - 0.010 * east,
        "eye_lower": 0.060 + vary(0.008) + 0.014 * child - 0.004 * old,
        "eye_tilt": -0.05 + vary(0.075) - 0.06 * east + 0.05 * old,
        "lid_crease": 0.052 + vary(0.014) - 0.012 * east - 0.012 * old,
        "iris_radius": 0.104 + vary(0.004) + 0.012 * child,
        "brow_height": 0.285 + vary(0.030) - 0.028 * sex + 0.03 * child,
        "brow_thickness": 0.040 + vary(0.009) + 0.012 * sex - 0.012 * child,
        "brow_arch": 0.055 + vary(0.025) - 0.016 * sex,
        "brow_length": 0.29 + vary(0.025) - 0.02 * child,
        "brow_tilt": vary(0.09) + 0.06 * old,
        "brow_density": (0.74 + vary(0.12) - 0.28 * child).clamp(0.22, 1.0),
    }
    # nose and mouth
    columns |= {
        "nose_length": 0.61 + vary(0.040) - 0.11 * child + 0.04 * old,
        "nose_width": 0.185 + vary(0.020) + 0.012 * sex + 0.014 * dark - 0.022 * child + 0.012 * old,
        "nose_bridge": 0.095 + vary(0.014) + 0.02 * child,
        "nose_height": 0.34 + vary(0.055) + 0.03 * sex - 0.13 * child,
        "nose_wing": 0.13 + vary(0.022) - 0.03 * child,
        "nose_tip": vary(1.0),
        "nose_hump": vary(0.045) * grown,
        "mouth_y": 1.13 + vary(0.032) - 0.03 * child,
        "mouth_width": 0.42 + vary(0.034) + 0.012 * sex - 0.035 * child,
        "lip_upper": (0.094 + vary(0.018) - 0.008 * sex + 0.009 * (group - 2) - 0.030 * old).clamp(min=0.028),
        "lip_lower": (0.138 + vary(0.021) - 0.007 * sex + 0.007 * (group - 2) - 0.030 * old).clamp(min=0.045),
        "lip_bow": 0.26 + vary(0.10),
        "lip_red": draws.uniform(0.55, 1.05) - 0.12 * sex - 0.15 * old,
        "mouth_curve": 0.010 + vary(0.022) - 0.014 * old,
    }
    # skin
    melanin = torch.tensor([0.05, 0.27, 0.50, 0.75, 0.97])[group] + vary(0.04)
    tint = 1 + vary_colour(draws, 0.05 * scale)
    columns |= {
        "skin": palette.along(palette.SKIN, melanin) * tint,
        "mottle": draws.uniform(0.03, 0.07) * (0.4 + 0.6 * grown) + 0.04 * old,
        "pores": draws.uniform(0.025, 0.07) * (0.3 + 0.7 * grown) + 0.02 * old,
        "skin_x": draws.uniform(-1, 1),
        "skin_y": draws.uniform(-1, 1),
        "freckles": (draws.chance(0.22) & (group < 3)) * draws.uniform(0.3, 0.9),
        "age_spots": ((age - 0.62) / 0.38).clamp(0, 1) * draws.uniform(0.2, 0.8),
        "blush": draws.uniform(0.2, 1.0) + 0.4 * child,
        "nose_red": draws.uniform(0.0, 1.0),
        "oil": draws.uniform(0.25, 1.0) * (1 - 0.3 * child),
        "bags": draws.uniform(0.0, 0.35) * grown + 0.75 * old,
        "wrinkles": (1.25 * old + 0.12 * draws.uniform() * grown).clamp(0, 1.3),
        "folds": (0.12 + 0.22 * draws.uniform() + 0.85 * old) * grown,
        "mole_x": torch.stack([draws.uniform(-0.9, 0.9) for _ in range(MOLES)], 1),
        "mole_y": torch.stack([draws.uniform(-0.6, 1.5) for _ in range(MOLES)], 1),
        "mole_radius": torch.stack([draws.uniform(0.018, 0.040) for _ in range(MOLES)], 1),
        "mole_depth": torch.stack([draws.chance(0.28) * draws.uniform(0.3, 0.8) for _ in range(MOLES)], 1),
    }
    # colours of eyes and hair
    light_eyes = draws.uniform(0.0, 1.0)
    iris = palette.along(palette.IRIS, torch.where(group == 0, light_eyes, light_eyes * 0.22))
    columns["iris"] = iris * (1 + vary_colour(draws, 0.10 * scale)).clamp(0.5, 1.5)
    columns |= _hair_colour(draws, group, age, scale)
    beard = (masculine & (age > 0.3)) * (draws.uniform() * 1.6 - 0.5).clamp(0, 1)
    columns |= {
        "beard": beard,
        "moustache": (beard * draws.uniform(0.5, 1.3)).clamp(0, 1),
        "beard_height": draws.uniform(),
        "make_up": (~masculine & (age > 0.25)) * (draws.uniform() * 1.3 - 0.3).clamp(0, 1) * (1 - 0.4 * old),
    }
    # glasses: some people nearly always wear theirs, the others hardly ever
    columns |= {
        "glasses_habit": torch.where(
            draws.chance(0.20 + 0.15 * old), draws.uniform(0.5, 0.95), draws.uniform(0.0, 0.10)
        ),
        "lens_radius": draws.uniform(0.25, 0.32),
        "lens_aspect": draws.uniform(0.68, 0.98),
        "lens_power": draws.uniform(2.0, 4.5),
        "rim": draws.uniform(0.010, 0.030),
        "rim_colour": draws.uniform(0.0, 0.25)[:, None] * torch.stack([draws.uniform(0.3, 1.0) for _ in range(3)], 1),
    }
    woolly = draws.chance(torch.tensor([0.02, 0.01, 0.05, 0.25, 0.85])[group])
    columns["hair_style"], hair = sample_hair(
        draws, masculine=masculine, child=child, old=old, tight_curls=woolly, spread=scale
    )
    return Traits(columns | hair)


def vary_colour(draws: Draws, deviation: float) -> Tensor:
    """A small change of colour ``[N, 3]``: mostly brightness, partly hue."""
    return draws.normal(deviation)[:, None] + draws.normal_colour(0.6 * deviation, (1.0, 0.35, 1.0))


def _hair_colour(draws: Draws, group: Tensor, age: Tensor, scale: float) -> dict[str, Tensor]:
    """Hair and brow colours and the label: grey starts in the fourth age bucket and reaches everyone in the last."""
    chosen = draws.uniform()
    fair = (chosen * 4).long().clamp(max=3)
    natural = torch.where(group == 0, fair, torch.where(group == 4, (chosen > 0.88).long(), (chosen > 0.62).long()))
    natural = torch.where((group == 1) & (chosen > 0.80), 2, natural)
    onset = draws.uniform(0.55, 0.84)
    grey = ((age - onset) / 0.14 + 0.5).clamp(0, 1)
    silver = torch.lerp(palette.HAIR[-1], palette.WHITE_HAIR, ((age - 0.85) / 0.12).clamp(0, 1)[:, None])
    pigment = palette.HAIR[natural] * (1 + vary_colour(draws, 0.13 * scale)).clamp(0.5, 1.7)
    hair = torch.lerp(pigment, silver * (1 + 0.08 * draws.normal())[:, None], grey[:, None])
    brow = torch.lerp(pigment, hair, 0.6)
    return {
        "hair": hair,
        "hair_color": torch.where(grey > 0.5, len(palette.HAIR_NAMES) - 1, natural),
        "grizzle": grey * (1 - grey) * 4,
        "brow": brow * (0.26 / brow.amax(1, keepdim=True)).clamp(max=0.72),
    }
