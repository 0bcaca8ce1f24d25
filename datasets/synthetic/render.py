"""Draws faces: parameters in, 8-bit aligned photos with landmarks out.

Closed-form fields over head coordinates, in linear light. Smooth quantities are computed at half resolution and
enlarged; textures, eyes, nose and mouth at full resolution. Every operation treats each image on its own, so an image
does not depend on the others of its batch, to the last bit (a test holds this).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cloakbench.datasets.synthetic import accessories, features, hair, photograph
from cloakbench.datasets.synthetic.atlas import atlases
from cloakbench.datasets.synthetic.fields import look_up, mix, ramp, upsample
from cloakbench.datasets.synthetic.geometry import HALF, SIZE, View, view
from cloakbench.datasets.synthetic.outline import outlines
from cloakbench.datasets.synthetic.shading import light_on
from cloakbench.datasets.synthetic.table import Table

REDNESS = torch.tensor([0.10, -0.16, -0.12]).view(1, 3, 1, 1)  # what blood in the skin adds to its colour
EDGE_PX = 1.3  # outlines are blurred over this many pixels


class Photos(NamedTuple):
    """images: uint8 ``[B, 3, 112, 112]`` RGB. landmarks: float ``[B, 5, 2]`` pixels ``(x, y)``."""

    images: Tensor
    landmarks: Tensor


@torch.inference_mode()
def render(face: Table, shot: Table, luma_noise: Tensor, colour_noise: Tensor) -> Photos:
    """Photos of the people ``face`` under the circumstances ``shot`` (rows pair up).

    Args:
        face: rows of ``identity.sample_identities``.
        shot: rows of ``nuisance.sample_nuisances``.
        luma_noise, colour_noise: unit normals of the shapes ``photograph.NOISE_SHAPES``, one per image.
    """
    seen = view(face, shot)
    scene = _scene(face, shot, seen)
    display = photograph.develop(scene, shot)
    display = photograph.degrade(display, shot, luma_noise, colour_noise)
    return Photos(photograph.to_8_bit(display), seen.landmarks)


def _scene(face: Table, shot: Table, seen: View) -> Tensor:
    """Everything in front of the lens in linear light ``[B, 3, 112, 112]``."""
    u, v, edge = seen.u, seen.v, EDGE_PX / seen.scale
    light = light_on(face, shot, seen)
    fields = upsample(torch.cat([*light, *outlines(face, shot, seen)], 1), SIZE)
    shade, gloss, flush, beard, head, ear, neck, cloth, front, mane = fields.split([3, *[1] * 9], 1)

    locks = hair.comb(face, shot, u, v, front, mane, shade)
    texture = look_up(atlases().skin, u * 0.44 + face.skin_x, v * 0.44 + face.skin_y)
    skin, gloss = _skin(face, shot, seen, texture, flush, beard, gloss, locks.strands)

    scene = _setting(shot)
    scene = mix(scene, locks.colour * 0.5, hair.behind(face, mane, locks, v))
    scene = mix(scene, face.skin * shade * (0.30 + 0.25 * (v - 1.5).clamp(0, 1)), ramp(neck, edge))
    scene = mix(scene, shot.cloth * (0.6 * shade + 0.1), ramp(cloth, edge))
    ear_colour = face.skin * (1 + 0.5 * REDNESS) * shade * (0.50 + 0.75 * (ear / face.ear).clamp(0, 0.6))
    scene = mix(scene, ear_colour, ramp(ear, edge))
    covered = ramp(head, edge)
    shaded = skin * shade * (0.66 + 0.34 * (head * 4).clamp(0, 1)) + gloss
    scene = mix(scene, shaded, covered)
    scene = scene * (1 - 0.30 * face.hair_density * ramp(front + 0.09, 0.22) * covered)  # the hair's shadow
    scene = mix(scene, locks.colour, locks.cover)
    scene = accessories.put_on_glasses(face, shot, scene, u, v, covered, edge)
    return accessories.hold_up(shot, scene, u, v, texture[:, 1:2] + locks.locks, shade)


def _skin(
    face: Table, shot: Table, seen: View, texture: Tensor, flush: Tensor, beard: Tensor, gloss: Tensor, strands: Tensor
) -> tuple[Tensor, Tensor]:
    """Colour of the skin with all features on it, and the gloss with the eyes' highlights."""
    blotches, spots, pores = texture.split(1, 1)
    dots = face.freckles * ((0.8 * pores + 0.5 * spots - 1.0) * 1.6).clamp(0, 1) * (0.25 + flush).clamp(max=1)
    old_spots = face.age_spots * ((blotches + 0.5 * spots - 1.3) * 1.5).clamp(0, 1)
    tone = 1 + 0.5 * face.mottle * blotches + face.pores * (0.40 * spots + 0.30 * pores)
    tone = tone - 0.45 * dots - 0.22 * old_spots
    skin = face.skin * (1 + 0.85 * REDNESS * flush) * tone
    stubble = (beard * (0.80 + 0.14 * pores + 0.12 * strands)).clamp(0, 1)
    skin = mix(skin, face.brow * 0.85, 0.78 * stubble)
    moles = _moles(face, seen)
    skin = skin * (1 - 0.72 * moles)
    gloss = gloss * (1 + 0.12 * pores) * (1 - 0.7 * moles) * (1 - 0.6 * stubble)

    rows = (slice(None), slice(None), features.EYE_ROWS)
    edge = 1.2 / seen.scale
    slab, glint = features.paint_eyes(face, shot, skin[rows], seen.u[rows], seen.v[rows], strands[rows], edge)
    skin[rows] = slab
    gloss[rows] += glint
    rows = (slice(None), slice(None), features.MOUTH_ROWS)
    skin[rows] = features.paint_mouth(face, shot, skin[rows], seen.u[rows], seen.v[rows], spots[rows], edge)
    return skin, gloss


def _moles(face: Table, seen: View) -> Tensor:
    """Opacity of the moles; most people have one or none, so only the existing ones are drawn."""
    moles = torch.zeros_like(seen.u)
    depths = face.column("mole_depth")
    for index in range(depths.shape[1]):
        rows = depths[:, index].nonzero()[:, 0]
        if len(rows):
            one = {name: face.column(name)[rows, index].view(-1, 1, 1, 1) for name in ("mole_x", "mole_y")}
            depth, radius = (face.column(name)[rows, index].view(-1, 1, 1, 1) for name in ("mole_depth", "mole_radius"))
            dx, dy = seen.u[rows] - one["mole_x"], seen.v[rows] - one["mole_y"]
            moles[rows] = torch.maximum(moles[rows], depth * (1.6 - (dx * dx + dy * dy) / radius**2).clamp_(0, 1))
    return moles


def _setting(shot: Table) -> Tensor:
    """A background out of focus: two colours that run into each other."""
    centres = (torch.arange(HALF) + 0.5) / HALF * 2 - 1
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    x, y = (axis.expand(len(shot), 1, -1, -1) for axis in (x, y))
    noise = look_up(atlases().setting, x * shot.setting_zoom + shot.setting_x, y * shot.setting_zoom + shot.setting_y)
    share = ramp(shot.setting_blend + 0.8 * shot.setting_contrast * noise[:, :1] + 0.3 * y, 2.2)
    colour = mix(shot.setting, shot.setting_2, share * shot.setting_contrast)
    return upsample(colour * (1 + 0.10 * noise[:, 1:] + 0.18 * shot.light_x * x).clamp(0.2, 2), SIZE)
