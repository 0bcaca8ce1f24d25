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
from cloakbench.datasets.synthetic.fields import look_up, mix, ramp, upsample
from cloakbench.datasets.synthetic.geometry import HALF, SIZE, Pane, View, view
from cloakbench.datasets.synthetic.outline import Outline, outlines
from cloakbench.datasets.synthetic.shading import Light, light_on
from cloakbench.datasets.synthetic.table import Traits
from cloakbench.datasets.synthetic.textures import atlases

REDNESS = torch.tensor([0.10, -0.16, -0.12]).view(1, 3, 1, 1)  # what blood in the skin adds to its colour
EDGE_PX = 1.3  # outlines are blurred over this many pixels


class RenderedPhotos(NamedTuple):
    """images: uint8 ``[B, 3, 112, 112]`` RGB. landmarks: float ``[B, 5, 2]`` pixels ``(x, y)``."""

    images: Tensor
    landmarks: Tensor


@torch.inference_mode()
def render(face: Traits, shot: Traits, luma_noise: Tensor, colour_noise: Tensor) -> RenderedPhotos:
    """Photos of the people ``face`` under the circumstances ``shot`` (rows pair up).

    Args:
        face: rows of ``identity.sample_identities``.
        shot: rows of ``nuisance.sample_nuisances``.
        luma_noise, colour_noise: unit normals of the shapes ``photograph.NOISE_SHAPES``, one per image.
    """
    seen = view(face, shot)
    scene = _scene(face, shot, seen)
    display = photograph.develop(scene, face, shot)
    display = photograph.degrade(display, shot, luma_noise, colour_noise)
    return RenderedPhotos(photograph.to_8_bit(display), seen.landmarks)


def _scene(face: Traits, shot: Traits, seen: View) -> Tensor:
    """Everything in front of the lens in linear light ``[B, 3, 112, 112]``."""
    pane = Pane(face, shot, seen.u, seen.v, EDGE_PX / seen.scale)
    light = light_on(face, shot, seen)
    outline = outlines(face, shot, seen)
    fields = upsample(torch.cat([*light, *outline], 1), SIZE)
    full = fields.split([field.shape[1] for field in (*light, *outline)], 1)
    light, outline = Light(*full[: len(light)]), Outline(*full[len(light) :])
    shade, head = light.shade, ramp(outline.head, pane.edge)

    locks = hair.comb(pane, outline.hair, outline.mane, shade)
    texture = look_up(atlases().skin, seen.u * 0.44 + face.skin_x, seen.v * 0.44 + face.skin_y)
    skin, gloss = _skin(pane, texture, light, locks.strands)

    scene = _setting(shot)
    scene = mix(scene, locks.colour * 0.5, hair.behind(pane, outline.mane, locks))
    neck_shadow = 0.30 + 0.25 * (seen.v - 1.5).clamp(0, 1)
    scene = mix(scene, face.skin * shade * neck_shadow, ramp(outline.neck, pane.edge))
    scene = mix(scene, shot.cloth * (0.6 * shade + 0.1), ramp(outline.cloth, pane.edge))
    ear_relief = 0.50 + 0.75 * (outline.ear / face.ear).clamp(0, 0.6)
    scene = mix(scene, face.skin * (1 + 0.5 * REDNESS) * shade * ear_relief, ramp(outline.ear, pane.edge))
    scene = mix(scene, skin * shade * (0.66 + 0.34 * (outline.head * 4).clamp(0, 1)) + gloss, head)
    scene = scene * (1 - 0.30 * face.hair_density * ramp(outline.hair + 0.09, 0.22) * head)  # the hair's shadow
    scene = mix(scene, locks.colour, locks.cover)
    scene = accessories.put_on_glasses(pane, scene, head)
    return accessories.hold_up(pane, scene, texture[:, 1:2] + locks.locks, shade)


def _skin(pane: Pane, texture: Tensor, light: Light, strands: Tensor) -> tuple[Tensor, Tensor]:
    """Colour of the skin with all features on it, and the gloss with the eyes' highlights."""
    face = pane.face
    blotches, spots, pores = texture.split(1, 1)
    dots = face.freckles * ((0.8 * pores + 0.5 * spots - 1.0) * 1.6).clamp(0, 1) * (0.25 + light.flush).clamp(max=1)
    old_spots = face.age_spots * ((blotches + 0.5 * spots - 1.3) * 1.5).clamp(0, 1)
    tone = 1 + 0.5 * face.mottle * blotches + face.pores * (0.40 * spots + 0.30 * pores)
    tone = tone - 0.45 * dots - 0.22 * old_spots
    skin = face.skin * (1 + 0.85 * REDNESS * light.flush) * tone
    stubble = (light.beard * (0.80 + 0.14 * pores + 0.12 * strands)).clamp(0, 1)
    skin = mix(skin, face.brow * 0.85, 0.78 * stubble)
    moles = _moles(pane)
    skin = skin * (1 - 0.72 * moles)
    gloss = light.gloss * (1 + 0.12 * pores) * (1 - 0.7 * moles) * (1 - 0.6 * stubble)

    eyes, mouth = ((slice(None), slice(None), rows) for rows in (features.EYE_ROWS, features.MOUTH_ROWS))
    skin[eyes], glint = features.paint_eyes(pane.rows(features.EYE_ROWS), skin[eyes], strands[eyes])
    gloss[eyes] += glint
    skin[mouth] = features.paint_mouth(pane.rows(features.MOUTH_ROWS), skin[mouth], spots[mouth])
    return skin, gloss


def _moles(pane: Pane) -> Tensor:
    """Opacity of the moles; most people have one or none, so only the existing ones are drawn."""
    moles = torch.zeros_like(pane.u)
    face = pane.face
    depths = face.column("mole_depth")
    for index in range(depths.shape[1]):
        rows = depths[:, index].nonzero()[:, 0]
        if len(rows):
            x, y, radius, depth = (
                face.column(f"mole_{name}")[rows, index].view(-1, 1, 1, 1) for name in ("x", "y", "radius", "depth")
            )
            dx, dy = pane.u[rows] - x, pane.v[rows] - y
            moles[rows] = torch.maximum(moles[rows], depth * (1.6 - (dx * dx + dy * dy) / radius**2).clamp_(0, 1))
    return moles


def _setting(shot: Traits) -> Tensor:
    """A background out of focus: two colours that run into each other."""
    centres = (torch.arange(HALF) + 0.5) / HALF * 2 - 1
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    x, y = (axis.expand(len(shot), 1, -1, -1) for axis in (x, y))
    noise = look_up(atlases().setting, x * shot.setting_zoom + shot.setting_x, y * shot.setting_zoom + shot.setting_y)
    share = ramp(shot.setting_blend + 0.8 * shot.setting_contrast * noise[:, :1] + 0.3 * y, 2.2)
    colour = mix(shot.setting, shot.setting_2, share * shot.setting_contrast)
    return upsample(colour * (1 + 0.10 * noise[:, 1:] + 0.18 * shot.light_x * x).clamp(0.2, 2), SIZE)
