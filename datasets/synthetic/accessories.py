"""Glasses and things held before the face; only the photos that have them are touched."""

from __future__ import annotations

import torch
from torch import Tensor

from cloakbench.datasets.synthetic.fields import bump, mix, ramp
from cloakbench.datasets.synthetic.geometry import Pane

GLASSES_ROWS = slice(32, 84)


def put_on_glasses(pane: Pane, photo: Tensor, head: Tensor) -> Tensor:
    """Lenses, rims, bridge and temples on ``photo [B, 3, H, W]``; ``head`` is the head's opacity."""
    wearers = pane.shot.column("glasses").nonzero()[:, 0]
    if not len(wearers):
        return photo
    face, shot, u, v, edge = pane.rows(GLASSES_ROWS).photos(wearers)
    rows = (wearers, slice(None), GLASSES_ROWS)
    head, slab = head[rows], photo[rows]
    side = u.abs()
    x = ((side - 0.50) / face.lens_radius).abs().clamp(min=1e-3)
    y = ((v - 0.05) / (face.lens_radius * face.lens_aspect)).abs().clamp(min=1e-3)
    outside = ((x.pow(face.lens_power) + y.pow(face.lens_power)).pow(1 / face.lens_power) - 1) * face.lens_radius
    rim = ramp(face.rim - outside.abs(), edge)
    bar = 0.012 + 0.5 * face.rim
    bridge = ramp(bar - (v + 0.02).abs(), edge) * ramp(0.52 - face.lens_radius - side, edge)
    temple = ramp(bar - (v + 0.02).abs(), edge) * ramp(side - 0.5 - face.lens_radius, edge) * head
    frame = torch.maximum(rim, torch.maximum(bridge, temple))
    lens = ramp(-outside, edge)
    slab = slab * (1 - 0.22 * bump(outside / 0.05) * head)
    slab = slab * (1 - 0.88 * lens * shot.sunglasses)
    slab = slab + 0.30 * lens * shot.reflection * ramp(u + 0.8 * v - 0.3, 0.5)
    light = 0.5 + 0.4 * shot.light * (1 - 0.3 * side)
    photo[rows] = mix(slab, face.rim_colour * light, frame)
    return photo


def hold_up(pane: Pane, photo: Tensor, folds: Tensor, shade: Tensor) -> Tensor:
    """A cloth-coloured rounded thing in front of a part of the face; ``folds`` is noise, ``shade`` light."""
    rows = pane.shot.column("occluder").nonzero()[:, 0]
    if not len(rows):
        return photo
    _, shot, u, v, _ = pane.photos(rows)
    dx, dy = u - shot.occluder_x, v - shot.occluder_y
    cos, sin = shot.occluder_turn.cos(), shot.occluder_turn.sin()
    x, y = (dx * cos + dy * sin) / shot.occluder_width, (dy * cos - dx * sin) / shot.occluder_height
    inside = 1 - (x.abs() ** 3 + y.abs() ** 3)
    rounded = 0.65 + 0.35 * inside.clamp(0, 1)
    colour = shot.occluder_colour * (1 + 0.10 * folds[rows]) * rounded * (0.4 + 0.6 * shade[rows])
    photo[rows] = mix(photo[rows], colour, ramp(inside, 0.12))
    return photo
