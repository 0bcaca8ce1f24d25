"""Brows, eyes, nose and mouth, painted over the skin in two horizontal slabs at full resolution."""

from __future__ import annotations

import torch
from torch import Tensor

from cloakbench.datasets.synthetic.fields import bump, mix, ramp
from cloakbench.datasets.synthetic.geometry import Pane, mouth_stretch
from cloakbench.datasets.synthetic.shading import light_direction

EYE_ROWS = slice(24, 74)
MOUTH_ROWS = slice(58, 112)


def _rgb(red: float, green: float, blue: float) -> Tensor:
    return torch.tensor([red, green, blue]).view(1, 3, 1, 1)


SCLERA = _rgb(0.58, 0.53, 0.49)  # pure white glows on dark faces
CARUNCLE = _rgb(0.46, 0.20, 0.18)
SHADOW = _rgb(0.62, 0.84, 0.90)  # how strongly a crease darkens each channel: skin stays warm in the dark
EYE_SHADOW = _rgb(0.60, 0.90, 0.70)
LIP = _rgb(0.82, 0.42, 0.43)
LIPSTICK = _rgb(0.40, 0.06, 0.08)
THROAT = _rgb(0.07, 0.018, 0.016)
TEETH = _rgb(0.48, 0.45, 0.40)


def paint_eyes(pane: Pane, skin: Tensor, strands: Tensor) -> tuple[Tensor, Tensor]:
    """Brows and eyes.

    Args:
        pane: the slab ``EYE_ROWS``.
        skin: its colour ``[B, 3, h, W]``.
        strands: its hair noise ``[B, 1, h, W]``.

    Returns:
        The painted slab, and the highlights of the eyes, to be added after shading.
    """
    face, shot, u, v, edge = pane
    hand = torch.sign(u)
    from_eye = u.abs() - face.eye_x - face.asymmetry * hand
    skin = _brows(pane, skin, from_eye, strands)

    x = from_eye / face.eye_width
    y = v - face.eye_tilt * from_eye
    arch = 1 - x * x
    upper = -face.eye_upper * shot.lids * arch.clamp(min=-1) * (1 - 0.16 * x)
    lower = face.eye_lower * arch.clamp(min=-1) * (1 + 0.22 * x)
    opening = ramp(torch.minimum(y - upper, lower - y), edge)
    near = ramp(1.12 - x.abs(), 0.25)
    made_up = face.make_up * shot.make_up_today

    above = y - upper
    crease = 0.34 * bump((above + face.lid_crease) / 0.018) * near
    lid = 0.16 * bump((above + 0.5 * face.lid_crease) / 0.05) * near
    under = 0.10 * bump((y - lower - 0.03) / 0.03) * near
    skin = skin * (1 - (crease + lid + under) * SHADOW)
    skin = skin * (1 - 0.38 * made_up * bump((above + 0.05) / 0.05) * near * EYE_SHADOW)

    iris_x = u - hand * face.eye_x - shot.gaze_x
    iris_y = y + 0.016 - shot.gaze_y
    distance = (iris_x * iris_x + iris_y * iris_y).clamp(min=1e-8).sqrt()
    radius = face.iris_radius
    iris = ramp(radius - distance, 1.3 * edge)
    rim = ((distance / radius - 0.66) * 2.6).clamp(0, 1)
    colour = face.iris * (1.15 - 0.75 * rim + 0.5 * (iris_y / radius).clamp(-1, 1))
    ball = SCLERA * (0.50 + 0.55 * face.skin.mean(1, keepdim=True)) * (1 - 0.30 * x * x)
    ball = mix(ball, CARUNCLE, 0.75 * ramp(-0.86 - x, 0.2))
    ball = mix(ball, colour, iris)
    ball = ball * (1 - 0.94 * ramp(0.42 * radius - distance, edge))
    ball = ball * (1 - 0.50 * (1 - above / 0.055).clamp(0, 1))  # the lid's shadow
    skin = mix(skin, ball, opening)

    lash = bump(above / (0.018 + 0.006 * x.clamp(0, 1))) * ramp(1.06 - x.abs(), 0.14) * (0.62 + 0.30 * made_up)
    lower_lash = 0.22 * bump((y - lower) / 0.014) * ramp(1.0 - x.abs(), 0.2)
    skin = skin * (1 - (lash + lower_lash).clamp(0, 0.93))
    light_x, _, _ = light_direction(shot)
    glint_x, glint_y = iris_x - 0.035 * light_x, iris_y + 0.032
    glint = (1.35 - (glint_x * glint_x + glint_y * glint_y) / 0.020**2).clamp(0, 1) * opening * iris
    return skin, glint * 0.62 * shot.light


def _brows(pane: Pane, skin: Tensor, from_eye: Tensor, strands: Tensor) -> Tensor:
    face, shot, u, v, _ = pane
    v = v + 0.4 * face.asymmetry * torch.sign(u)
    x = (from_eye - 0.01) / face.brow_length
    tilt = face.brow_tilt + 1.2 * (shot.brow_lift.clamp(max=0))  # a frown pulls the inner ends down
    y = v + face.brow_height + shot.brow_lift + face.brow_arch * (1 - x * x) - tilt * from_eye
    thickness = face.brow_thickness * (1.02 - 0.55 * x.clamp(-0.2, 1))
    cover = ramp(thickness - y.abs(), 0.062) * ramp(face.brow_length * 1.02 - (from_eye - 0.01).abs(), 0.14)
    return mix(skin, face.brow, (cover * face.brow_density * (0.88 + 0.12 * strands)).clamp_(0, 1))


def paint_mouth(pane: Pane, skin: Tensor, spots: Tensor) -> Tensor:
    """Nostrils and mouth on the slab ``MOUTH_ROWS``; ``spots`` is its skin noise."""
    face, shot, u, v, edge = pane
    side = u.abs()
    nose_y = v - face.nose_length
    hole_x = (side - face.nose_width * 0.60) / (face.nose_width * 0.30)
    hole_y = (nose_y - 0.060 - 0.015 * face.nose_tip - 0.25 * (face.nose_width * 0.6 - side)) / 0.027
    holes = 0.72 * (1.3 - hole_x * hole_x - hole_y * hole_y).clamp(0, 1)
    wing_x = (side - face.nose_width * 1.26 - 0.3 * nose_y) / 0.030
    wings = 0.34 * bump(wing_x, (nose_y + 0.005) / 0.075)
    skin = skin * (1 - torch.maximum(holes, wings) * SHADOW)
    skin = skin * (1 - 0.08 * bump(u / 0.035, (nose_y - 0.26) / 0.10))  # philtrum

    smile, open_ = shot.smile, shot.mouth_open
    x = u / (face.mouth_width * mouth_stretch(shot))
    square = x * x
    y = v - face.mouth_y + (0.10 * smile + face.mouth_curve) * square - 0.02 * smile
    arch = (1 - square).clamp(min=-0.6)
    fullness = arch * (1 + 0.25 * square) * (1 - 0.25 * smile.clamp(min=0))
    bow = 1 - face.lip_bow * bump(x / 0.16)
    inner_top, inner_bottom = -0.30 * open_ * arch, 0.85 * open_ * arch
    top = inner_top - face.lip_upper * fullness * bow
    bottom = inner_bottom + face.lip_lower * fullness
    lips = ramp(torch.minimum(y - top, bottom - y), 0.055)
    colour = face.skin * LIP
    lipstick = LIPSTICK * (0.5 + 0.7 * face.skin.mean(1, keepdim=True))
    colour = mix(colour, lipstick, (0.6 * face.make_up * shot.make_up_today).clamp(0, 0.8))
    colour = mix(face.skin, colour, face.lip_red.clamp(0.3, 1.1))
    shine = 0.16 * bump((y - inner_bottom - 0.5 * face.lip_lower) / 0.032, x / 0.55)
    relief = 1 + 0.06 * spots - 0.24 * ramp(inner_top - y, 0.05) + shine
    skin = mix(skin, colour * relief, 0.92 * lips)

    inside = ramp(torch.minimum(y - inner_top, inner_bottom - y), edge) * (open_ > 0.01) * ramp(1 - x.abs(), 0.08)
    teeth = ramp(inner_top + 0.075 + 0.02 * smile - y, edge) * ramp(0.86 - x.abs(), 0.16)
    teeth = teeth * (1 - 0.6 * square).clamp(min=0.2) * (0.94 + 0.06 * torch.cos(u * 50))
    skin = mix(skin, THROAT + TEETH * teeth * (0.7 + 0.4 * face.skin.mean(1, keepdim=True)), inside)
    line = 0.66 * bump((y - 0.004) / 0.015) * ramp(1.06 - x.abs(), 0.10) * (open_ <= 0.01)
    corners = 0.30 * bump((x.abs() - 1.0) / 0.09, y / 0.035)
    return skin * (1 - torch.maximum(line, corners) * SHADOW)
