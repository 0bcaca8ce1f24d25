"""The hairstyles of the synthetic world: what each means in numbers, and who tends to wear it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cloakbench.datasets.synthetic.table import Draws


class Style(NamedTuple):
    """One hairstyle; lengths in inter-ocular distances, heights grow downwards from the eyes.

    length: height at which the side hair ends. top, side: volume above and beside the skull. side_line: where the hair
    begins beside the face, relative to the face's half width. fringe: probability of one. density: opacity.
    curl: how woolly the outline and texture are. wave: amplitude of waves. strand_rate: strands across the head.
    recession: bare temples. bare_crown: 1 leaves hair on the sides only. Weights say how often a man, a woman, a boy
    and a girl has it.
    """

    length: float
    top: float
    side: float
    side_line: float
    fringe: float
    density: float
    curl: float
    wave: float
    strand_rate: float
    recession: float
    bare_crown: float
    man: float
    woman: float
    boy: float
    girl: float


STYLES = {
    "cropped": Style(-0.05, 0.02, 0.03, 1.00, 0.00, 0.86, 0.25, 0.00, 1.3, 0.10, 0.0, 0.22, 0.02, 0.18, 0.0),
    "short": Style(0.15, 0.16, 0.09, 0.985, 0.25, 0.98, 0.10, 0.01, 1.0, 0.06, 0.0, 0.30, 0.04, 0.34, 0.03),
    "swept": Style(0.20, 0.26, 0.10, 0.98, 0.10, 1.00, 0.05, 0.03, 0.9, 0.10, 0.0, 0.20, 0.03, 0.12, 0.0),
    "short curls": Style(0.22, 0.28, 0.17, 0.97, 0.15, 1.00, 0.85, 0.02, 1.1, 0.02, 0.0, 0.10, 0.07, 0.14, 0.07),
    "receding": Style(0.10, 0.08, 0.06, 1.00, 0.00, 0.90, 0.12, 0.00, 1.1, 0.42, 0.0, 0.10, 0.0, 0.0, 0.0),
    "bald": Style(0.12, 0.00, 0.03, 1.01, 0.00, 0.75, 0.15, 0.00, 1.2, 0.00, 1.0, 0.012, 0.0, 0.0, 0.0),
    "mop": Style(0.62, 0.22, 0.20, 0.93, 0.65, 1.00, 0.12, 0.03, 0.8, 0.00, 0.0, 0.04, 0.05, 0.22, 0.07),
    "pixie": Style(0.42, 0.20, 0.12, 0.95, 0.55, 1.00, 0.08, 0.02, 0.9, 0.00, 0.0, 0.0, 0.11, 0.0, 0.08),
    "bob": Style(1.35, 0.16, 0.24, 0.92, 0.45, 1.00, 0.04, 0.02, 0.9, 0.00, 0.0, 0.0, 0.17, 0.0, 0.17),
    "long": Style(2.60, 0.13, 0.20, 0.90, 0.25, 1.00, 0.03, 0.02, 0.9, 0.00, 0.0, 0.02, 0.19, 0.0, 0.23),
    "wavy": Style(2.40, 0.20, 0.34, 0.92, 0.20, 1.00, 0.22, 0.09, 0.8, 0.00, 0.0, 0.02, 0.17, 0.0, 0.15),
    "curls": Style(1.55, 0.34, 0.48, 0.93, 0.25, 1.00, 0.95, 0.05, 1.0, 0.00, 0.0, 0.01, 0.10, 0.0, 0.10),
    "tied back": Style(0.30, 0.06, 0.05, 0.985, 0.20, 1.00, 0.03, 0.00, 1.2, 0.00, 0.0, 0.01, 0.14, 0.0, 0.16),
}


def sample_hair(
    draws: Draws, *, masculine: Tensor, child: Tensor, old: Tensor, tight_curls: Tensor, spread: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Hair parameters of many people, as columns ``hair_*`` and the index of the style.

    Args:
        draws: the identities' streams.
        masculine, tight_curls: bool ``[N]``.
        child, old: from 0 to 1, ``[N]``.
        spread: scale of the variation within a style.
    """
    table = torch.tensor([list(style) for style in STYLES.values()])
    adults = torch.where(masculine[:, None], table[:, -4], table[:, -3])
    children = torch.where(masculine[:, None], table[:, -2], table[:, -1])
    weights = torch.lerp(adults, children, (child > 0.3).float()[:, None])
    names = list(STYLES)
    thinning = torch.tensor([9.0 if name == "bald" else 4.0 if name == "receding" else 0.0 for name in names])
    woolly = torch.tensor([6.0 if "curls" in name else 2.0 if name == "cropped" else 0.0 for name in names])
    weights = weights * (1 + old[:, None] * thinning) * (1 + tight_curls[:, None].float() * woolly)
    style = draws.weighted(weights)
    base = {name: table[style, column] for column, name in enumerate(Style._fields)}

    fringed = draws.chance(base["fringe"]).float()
    curl = (base["curl"] + tight_curls * draws.uniform(0.3, 0.7) + draws.normal(0.05) * spread).clamp(0, 1)
    hairline_age = old * masculine * draws.uniform(0.0, 0.25)
    return style, {
        "hair_length": base["length"] + draws.normal(0.07) * spread * (1 + 1.5 * (base["length"] > 1)),
        "hair_top": (base["top"] + draws.normal(0.05) * spread).clamp(min=0.0),
        "hair_side": (base["side"] * (1 + draws.normal(0.22) * spread)).clamp(min=0.01),
        "hair_side_line": base["side_line"] + draws.normal(0.018) * spread,
        "hair_line": -1.06 + draws.normal(0.085) * spread + 0.03 * child - hairline_age,
        "hair_arch": 0.34 + draws.normal(0.10) * spread,
        "hair_peak": draws.normal(0.06) * spread,
        "hair_recession": base["recession"] * draws.uniform(0.6, 1.3) + 0.6 * hairline_age,
        "hair_part": draws.normal(0.34) * spread,
        "hair_fringe": fringed * draws.uniform(0.30, 0.62),
        "hair_fringe_sweep": fringed * draws.normal(0.20),
        "hair_density": base["density"],
        "hair_curl": curl,
        "hair_wave": (base["wave"] * (1 + draws.normal(0.3))).clamp(min=0),
        "hair_wave_rate": draws.uniform(4.0, 8.5),
        "hair_phase": draws.uniform(0.0, 6.28),
        "hair_strand_rate": base["strand_rate"] * (1 + draws.normal(0.18)).clamp(min=0.5),
        "hair_bare_crown": base["bare_crown"],
        "hair_shine": draws.uniform(0.3, 1.0) * (1 - 0.7 * curl),
        "hair_x": draws.uniform(-1, 1),
        "hair_y": draws.uniform(-1, 1),
    }
