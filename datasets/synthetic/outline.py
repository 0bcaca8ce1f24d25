"""Outlines of head, ears, neck, clothes and hair: signed distances at half resolution, positive inside."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cloakbench.datasets.synthetic.fields import bump, ramp
from cloakbench.datasets.synthetic.geometry import View
from cloakbench.datasets.synthetic.table import Traits

CROWN = 1.85  # height of the skull above the eyes
SKULL_MIDDLE = 0.15


class Outline(NamedTuple):
    """Signed distances ``[B, 1, 56, 56]`` in inter-ocular units.

    head, ear, neck, cloth: as named. hair: hair in front of the head. mane: everything inside the outer edge of the
    hair, also what is behind the head.
    """

    head: Tensor
    ear: Tensor
    neck: Tensor
    cloth: Tensor
    hair: Tensor
    mane: Tensor


def outlines(face: Traits, shot: Traits, seen: View) -> Outline:
    """All outlines of the turned heads."""
    u, v = seen.u_half, seen.v_half
    side = u.abs()
    chin = face.chin + 0.55 * shot.mouth_open
    down = (v - face.cheek_line) / (chin - face.cheek_line)
    jaw = (1 - down.clamp(1e-3, 1.3).pow(face.jaw_power)).clamp(min=1e-4).pow(face.jaw_roundness)
    up = (-0.68 * down).clamp(min=0)
    skull = (1 - 0.92 * up * up * up).clamp(min=1e-4).sqrt()
    head = torch.minimum(face.face_width * torch.where(down > 0, jaw, skull) - side, 0.9 * (chin - v))

    ear = 1 - ((side - face.face_width - face.ear_out) / (0.75 * face.ear)).square()
    ear = 0.6 * face.ear * (ear - ((v - face.ear_height) / (1.75 * face.ear)).square())
    neck = torch.minimum(0.64 * face.face_width - side + 0.25 * (v - 1.7).clamp(min=0), v - 1.2)
    cloth = v - 2.02 - 0.12 * side
    mane = _mane(face, u, v)
    return Outline(head, ear, neck, cloth, _front_hair(face, shot, u, v, mane), mane)


def _mane(face: Traits, u: Tensor, v: Tensor) -> Tensor:
    """The outer edge of the hair: a superellipse that long hair continues downwards."""
    long = ramp(face.hair_length - 0.7, 0.4)
    sway = face.hair_wave * torch.sin(face.hair_wave_rate * v + face.hair_phase + (u > 0) * 1.3) * ramp(v, 1.0)
    side = u.abs() + sway
    down = (v - SKULL_MIDDLE).clamp(min=0)
    flare = 0.10 * (1 + 1.5 * face.hair_curl) * down - 0.05 * down * down
    width = face.face_width * (1 - 0.13 * (1 - long) * down * down) + face.hair_side + long * flare
    above = ((SKULL_MIDDLE - v).clamp(min=0) / (CROWN + face.hair_top)) ** 4
    round_end = face.hair_curl * long * ((v - 0.4).clamp(min=0) / (face.hair_length + 0.1).clamp(min=0.8)) ** 4
    return width * (1 - above - round_end).clamp(min=1e-4).sqrt() - side


def _front_hair(face: Traits, shot: Traits, u: Tensor, v: Tensor, mane: Tensor) -> Tensor:
    """Hair in front of the head: above the hairline or beside the face, and inside the mane."""
    side = u.abs()
    from_part = u - face.hair_part
    line = face.hair_line + shot.hair_line_today + face.hair_arch * u * u + face.hair_peak * bump(u / 0.16)
    line = line - face.hair_recession * bump((side - 0.52) / 0.24)
    fringe = ramp(1.0 - side, 0.5) * face.hair_fringe + face.hair_fringe_sweep * from_part
    line = line + fringe * (1 - 0.40 * bump(from_part / 0.20) * (face.hair_fringe < 0.48))
    above = line - v
    edge = face.face_width * face.hair_side_line * (1 - 0.05 * (v * 0.8).clamp(-1, 1.4))
    beside = torch.minimum(side - edge, 0.8 * (face.hair_length + 0.06 * torch.sin(7 * side + face.hair_phase) - v))
    joined = _smooth_maximum(above, beside, 0.45)
    crown_only = torch.minimum(beside, v + 0.62)
    front = torch.lerp(joined, crown_only, face.hair_bare_crown)
    return torch.minimum(front, mane)


def _smooth_maximum(a: Tensor, b: Tensor, width: float) -> Tensor:
    share = (0.5 + 0.5 * (a - b) / width).clamp(0, 1)
    return torch.lerp(b, a, share) + width * share * (1 - share) * 0.8
