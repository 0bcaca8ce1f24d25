"""Light on skin, at half resolution: normals, shadows, folds and wrinkles, tone."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.datasets.synthetic.fields import bump, ramp
from cloakbench.datasets.synthetic.geometry import Turn, View, depth
from cloakbench.datasets.synthetic.table import Traits

WRAP = 0.16  # how far light reaches around a face: skin is translucent
STEEPEST = 1.7  # slopes are bent towards this: under the nose it is dim, not black
BLEED = torch.tensor([0.075, 0.012, 0.0]).view(1, 3, 1, 1)  # red glow where light turns into shadow


class Light(NamedTuple):
    """shade: light arriving ``[B, 3, 56, 56]``, without gloss. gloss: mirror-like light ``[B, 1, 56, 56]``.
    flush, beard: shares of redness and of beard ``[B, 1, 56, 56]``."""

    shade: Tensor
    gloss: Tensor
    flush: Tensor
    beard: Tensor


def light_direction(shot: Traits) -> tuple[Tensor, Tensor, Tensor]:
    """Unit vector towards the lamp: right, down, towards the camera; each ``[B, 1, 1, 1]``."""
    norm = torch.rsqrt(shot.light_x.square() + shot.light_y.square() + 0.64)
    return shot.light_x * norm, shot.light_y * norm, 0.8 * norm


def light_on(face: Traits, shot: Traits, seen: View) -> Light:
    """One lamp and a soft surrounding on the relief of the face."""
    u, v = seen.u_half, seen.v_half
    nx, ny, nz = _normals(Turn(shot).towards_camera(u, v, depth(face, shot, u, v)) * (seen.scale * 0.5))
    lx, ly, lz = light_direction(shot)
    facing = nx * lx + ny * ly + nz * lz
    diffuse = ((facing + WRAP) / (1 + WRAP)).clamp(min=0)
    half_norm = torch.rsqrt(lx * lx + ly * ly + (lz + 1).square())
    mirror = ((nx * lx + ny * ly + nz * (lz + 1)) * half_norm).clamp(min=0) ** 4
    gloss = (0.10 * mirror**4 + 0.045 * mirror) * face.oil * shot.light
    ambient = shot.ambient * (1 - 0.25 * ny + shot.ambient_side * nx) * (0.62 + 0.38 * nz)
    nose_shadow = 1 - 0.5 * (lx.abs() * 1.3).clamp(max=1) * bump(
        (u + lx * 0.30) / 0.13, (v - face.nose_length * 0.85 + ly * 0.2) / 0.22
    )
    lamp = shot.light * (diffuse * nose_shadow + BLEED * bump((facing - 0.1) / 0.25))
    shade = lamp * shot.light_colour + ambient * shot.ambient_colour
    shade = shade * (_hollows(face, u, v) * _folds(face, shot, u, v) * _wrinkles(face, u, v))
    return Light(shade, gloss, _flush(face, u, v), _beard(face, u, v))


def _normals(height: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    dx = 0.5 * F.pad(height[..., 2:] - height[..., :-2], (1, 1, 0, 0), mode="replicate")
    dy = 0.5 * F.pad(height[..., 2:, :] - height[..., :-2, :], (0, 0, 1, 1), mode="replicate")
    dx, dy = (slope * torch.rsqrt(1 + (slope / STEEPEST).square()) for slope in (dx, dy))
    norm = torch.rsqrt(dx * dx + dy * dy + 1)
    return -dx * norm, -dy * norm, norm


def _hollows(face: Traits, u: Tensor, v: Tensor) -> Tensor:
    """Places that little light reaches: beside the nose root, under nose and lower lip."""
    side = u.abs()
    sockets = 0.24 * bump((side - face.eye_x + 0.10) / 0.20, (v + 0.11) / 0.07)
    nose = 0.20 * bump(u / 0.20, (v - face.nose_length - 0.12) / 0.06)
    lip = 0.20 * bump(u / (face.mouth_width * 0.7), (v - face.mouth_y - 0.21) / 0.05)
    return (1 - sockets) * (1 - nose) * (1 - lip)


def _folds(face: Traits, shot: Traits, u: Tensor, v: Tensor) -> Tensor:
    """Nasolabial folds, folds below the mouth corners, bags under the eyes."""
    side = u.abs()
    below = v - face.nose_length
    strength = face.folds + 0.5 * shot.smile.clamp(min=0)
    path = 0.21 + 0.27 * (below / 0.6).clamp(0, 1.2) * (1 + 0.15 * shot.smile)
    naso = 0.30 * strength * bump((side - path) / 0.042) * ramp(below + 0.08, 0.15) * ramp(0.60 - below, 0.3)
    path = face.mouth_width + 0.03 + 0.06 * (v - face.mouth_y)
    strength = (face.folds - 0.45).clamp(min=0)
    marionette = 0.34 * strength * bump((side - path) / 0.04, (v - face.mouth_y - 0.20) / 0.16)
    eye = side - face.eye_x
    bags = 0.20 * face.bags * bump(eye / 0.2, (v - 0.15 - 0.1 * eye * eye) / 0.045)
    return (1 - naso) * (1 - marionette) * (1 - bags)


def _wrinkles(face: Traits, u: Tensor, v: Tensor) -> Tensor:
    """Lines across the forehead, crow's feet, frown lines."""
    side = u.abs()
    forehead = ramp(-0.44 - v, 0.2) * ramp(v + 1.0, 0.2) * (1 - side * side).clamp(min=0)
    waves = torch.sin(v * 34 + 2.0 * torch.cos(u * 2.2 + face.skin_x) + face.skin_x * 9).clamp(min=0)
    lines = 0.24 * face.wrinkles * forehead * waves * waves
    corner = bump((side - face.eye_x - 0.37) / 0.11, (v - 0.02) / 0.13)
    feet = 0.26 * face.wrinkles * corner * torch.sin((v - 0.02) * 60 / (1 + side)).square()
    frown = 0.22 * (face.wrinkles - 0.2).clamp(min=0) * bump((side - 0.09) / 0.022, (v + 0.24) / 0.10)
    return (1 - lines) * (1 - feet) * (1 - frown)


def _flush(face: Traits, u: Tensor, v: Tensor) -> Tensor:
    cheeks = face.blush * bump((u.abs() - 0.62) / 0.27, (v - 0.58) / 0.22)
    return cheeks + 0.6 * face.nose_red * bump(u / 0.15, (v - face.nose_length) / 0.13)


def _beard(face: Traits, u: Tensor, v: Tensor) -> Tensor:
    side = u.abs()
    cheek_edge = 0.62 + 0.55 * (1 - side / face.face_width).clamp(0, 1) ** 0.8 * (0.9 + 0.3 * face.beard_height)
    jaw = ramp(v - cheek_edge, 0.24) * ramp(v - face.mouth_y + 0.45, 0.3)
    middle = 0.5 * (face.mouth_y + face.nose_length) + 0.095
    lip = bump((v - middle) / 0.075) * ramp(face.mouth_width * 0.95 - side, 0.14)
    return torch.maximum(face.beard * jaw, face.moustache * lip).clamp_(0, 1)
