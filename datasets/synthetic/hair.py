"""Hair: strands that fan out from the crown, waves, locks, soft tips and edges."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cloakbench.datasets.synthetic.fields import bump, look_up, ramp
from cloakbench.datasets.synthetic.geometry import Pane
from cloakbench.datasets.synthetic.textures import atlases

ROOT = 2.7  # strands fan out from this far above the eyes


class Hair(NamedTuple):
    """colour: lit colour ``[B, 3, H, W]``. cover: opacity of the hair in front ``[B, 1, H, W]``. strands, locks: the
    noise they are made of."""

    colour: Tensor
    cover: Tensor
    strands: Tensor
    locks: Tensor


def comb(pane: Pane, front: Tensor, mane: Tensor, shade: Tensor) -> Hair:
    """The hair of the heads at full resolution.

    Args:
        pane: the whole photos.
        front, mane: signed distances of ``outline``.
        shade: light on the head ``[B, 3, H, W]``.
    """
    face, shot, u, v, _ = pane
    from_part = u - face.hair_part
    fan = 2.1 * from_part / (v + ROOT)
    fan = fan + 0.25 * face.hair_wave * torch.sin(face.hair_wave_rate * v + face.hair_phase)
    fine = 0.62 * face.hair_strand_rate
    x = fan * fine + face.hair_x + shot.hair_x_today
    y = v * (0.10 + 0.55 * face.hair_curl) + 0.10 * from_part.abs() + face.hair_y + shot.hair_y_today
    noise = look_up(atlases().hair, x, y)
    strands, locks = noise[:, :1], noise[:, 1:]

    contrast = 0.13 + 0.10 * face.hair_curl
    colour = face.hair * (1 + contrast * strands + (0.08 + 0.16 * face.hair_curl) * locks).clamp_(0.25, 2.0)
    colour = colour + face.grizzle * 0.22 * (strands - 0.4).clamp(min=0)
    depth = (0.42 + 0.58 * (mane / 0.30).clamp(0, 1)) * (0.62 + 0.38 * (front / 0.16).clamp(0, 1))
    light = 0.30 + 0.62 * shade.mean(1, keepdim=True).clamp(max=1.7)
    band = bump((v + 1.02 - 0.22 * u * u - 0.04 * locks) / 0.17) + 0.5 * bump((v - 0.55 + 0.05 * locks) / 0.3)
    shine = 0.085 * face.hair_shine * band * (0.6 + 0.5 * strands).clamp(min=0) * (0.35 + face.hair.mean(1, True))
    colour = (colour * depth + shine * shot.light * depth) * light * (0.5 + 0.5 * shot.light_colour)

    soft = 0.11 + 0.05 * face.hair_fringe + 0.05 * (1 - face.hair_density)
    ragged = front + 0.009 * strands + (0.012 + 0.03 * face.hair_curl) * locks
    tips = ramp(face.hair_length + 0.10 * strands + 0.05 * locks - v, 0.30)
    cover = ramp(ragged, soft) * torch.maximum(tips, ramp(-0.1 - v, 0.2)) * face.hair_density
    return Hair(colour, cover, strands, locks)


def behind(pane: Pane, mane: Tensor, hair: Hair) -> Tensor:
    """Opacity of the hair behind head and neck."""
    face = pane.face
    ragged = mane + 0.010 * hair.strands + 0.04 * face.hair_curl * hair.locks
    tips = ramp(face.hair_length + 0.08 * hair.strands - 0.02 - pane.v, 0.25)
    return ramp(ragged, 0.07) * tips * (1 - face.hair_bare_crown)
