"""The shape of a head, how it is turned, and where each pixel of the aligned photo falls on it.

A head is a height field ``depth(u, v)`` over the frontal plane. Turning it moves near points more than far ones; the
pixel grid is carried back through that by a few fixed-point steps. This holds to about 35 degrees of yaw, where the
nose would begin to hide the cheek. Alignment is the real thing: the five landmarks are turned with the head and a
similarity is fitted from them to the ArcFace template, plus the jitter a detector would have.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from cloakbench.datasets.synthetic.fields import bump, upsample
from cloakbench.datasets.synthetic.table import Traits

SIZE = 112
HALF = SIZE // 2
COARSE = SIZE // 4
FIXED_POINT_STEPS = 4
PIVOT_DEPTH = 0.5  # the head nods around a point this deep

TEMPLATE = torch.tensor(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""ArcFace five-point template in pixels ``(x, y)``: eyes, nose tip, mouth corners, left to right in the image."""


class View(NamedTuple):
    """Where the pixels fall on the heads.

    u, v: head coordinates of the pixel centres ``[B, 1, 112, 112]``; u_half, v_half: the same at half resolution.
    scale: pixels per inter-ocular distance ``[B, 1, 1, 1]``. landmarks: ``[B, 5, 2]`` pixels ``(x, y)``.
    """

    u: Tensor
    v: Tensor
    u_half: Tensor
    v_half: Tensor
    scale: Tensor
    landmarks: Tensor


class Pane(NamedTuple):
    """A part of the photos to paint on: whose, under which circumstances, and the head coordinates of its pixels.

    u, v: ``[B, 1, h, W]``. edge: the width of a soft one-pixel edge in head units ``[B, 1, 1, 1]``.
    """

    face: Traits
    shot: Traits
    u: Tensor
    v: Tensor
    edge: Tensor

    def rows(self, rows: slice) -> Pane:
        """The horizontal slab ``rows`` of all photos."""
        return self._replace(u=self.u[:, :, rows], v=self.v[:, :, rows])

    def photos(self, photos: Tensor) -> Pane:
        """Some of the photos."""
        return Pane(
            self.face.select(photos), self.shot.select(photos), self.u[photos], self.v[photos], self.edge[photos]
        )


class Turn:
    """Rotation of heads by yaw and pitch; roll is taken out by the alignment."""

    def __init__(self, shot: Traits) -> None:
        self.sin_yaw, self.cos_yaw = shot.yaw.sin(), shot.yaw.cos()
        self.sin_pitch, self.cos_pitch = shot.pitch.sin(), shot.pitch.cos()

    def forward(self, x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Where points of the head are seen, in head units."""
        z_turned = z * self.cos_yaw - x * self.sin_yaw
        return (
            x * self.cos_yaw + z * self.sin_yaw,
            y * self.cos_pitch + (z_turned - PIVOT_DEPTH) * self.sin_pitch,
        )

    def back(self, x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """The head point of depth ``z`` that is seen at ``x, y``."""
        u = (x - z * self.sin_yaw) / self.cos_yaw
        z_turned = z * self.cos_yaw - u * self.sin_yaw
        return u, (y - (z_turned - PIVOT_DEPTH) * self.sin_pitch) / self.cos_pitch

    def towards_camera(self, u: Tensor, v: Tensor, z: Tensor) -> Tensor:
        """Depth along the line of sight."""
        return (z * self.cos_yaw - u * self.sin_yaw) * self.cos_pitch - v * self.sin_pitch


def view(face: Traits, shot: Traits) -> View:
    """Aligns the turned heads to the template and maps the pixels back onto them."""
    turn = Turn(shot)
    a, b, landmarks = _align(face, shot, turn)
    scale = a.abs().view(-1, 1, 1, 1)

    centres = torch.arange(COARSE) * (SIZE / COARSE) + (SIZE / COARSE - 1) / 2
    y_px, x_px = torch.meshgrid(centres, centres, indexing="ij")
    place = (torch.complex(x_px, y_px) - b.view(-1, 1, 1, 1)) / a.view(-1, 1, 1, 1)
    x, y = place.real.contiguous(), place.imag.contiguous()
    u, v = x / turn.cos_yaw, y
    for step in range(FIXED_POINT_STEPS):
        u_next, v = turn.back(x, y, _smooth_depth(face, u, v))
        u = u_next if step else 0.5 * (u + u_next)  # the first step overshoots on the nose
    half = F.interpolate(torch.cat([u, v], 1), size=HALF, mode="bicubic", align_corners=False)
    full = upsample(half, SIZE)
    return View(full[:, :1].contiguous(), full[:, 1:].contiguous(), half[:, :1], half[:, 1:], scale, landmarks)


def _align(face: Traits, shot: Traits, turn: Turn) -> tuple[Tensor, Tensor, Tensor]:
    """The similarity ``pixel = a * head + b`` (complex numbers ``[B]``) and the landmarks in pixels."""
    smile, width = shot.smile, face.mouth_width * mouth_stretch(shot)
    zero = torch.zeros_like(width)
    corner = face.mouth_y - 0.06 * smile
    x = torch.cat([-face.eye_x, face.eye_x, zero, -width, width], 1)
    y = torch.cat([zero, zero, face.nose_length, corner, corner], 1)
    z = torch.cat([zero + 0.72, zero + 0.72, 0.93 + face.nose_height, zero + 0.66, zero + 0.66], 1)
    x, y = turn.forward(x, y, z)
    seen = torch.complex(x, y).flatten(1)
    target = torch.complex(TEMPLATE[:, 0], TEMPLATE[:, 1])
    seen_mean, target_mean = seen.mean(1, keepdim=True), target.mean()
    spread = (seen - seen_mean).abs().square().sum(1)
    a = ((seen - seen_mean).conj() * (target - target_mean)).sum(1) / spread
    a = a * torch.polar(shot.column("zoom"), shot.column("turn") + shot.column("roll"))
    b = target_mean - a * seen_mean[:, 0] + torch.complex(shot.column("shift_x_px"), shot.column("shift_y_px"))
    pixels = a[:, None] * seen + b[:, None]
    return a, b, torch.stack([pixels.real, pixels.imag], -1)


def mouth_stretch(shot: Traits) -> Tensor:
    """How much wider than at rest the mouth is."""
    return 1 + 0.16 * shot.smile.clamp(min=0) - 0.12 * (shot.mouth_open > 0.1)


def _smooth_depth(face: Traits, u: Tensor, v: Tensor) -> Tensor:
    """Ellipsoid with a blunt nose: enough for the parallax."""
    nose = 0.30 * bump(u / 0.2, (v - 0.5) / 0.28) * (face.nose_height / 0.36)
    return _skull(face, u, v) + nose


def _skull(face: Traits, u: Tensor, v: Tensor) -> Tensor:
    return 0.95 * (1 - 0.9 * ((u / (face.face_width * 1.12)) ** 2 + ((v - 0.25) / 1.9) ** 2))


def depth(face: Traits, shot: Traits, u: Tensor, v: Tensor) -> Tensor:
    """Height of the face with all its features, including the folds of the expression."""
    side = u.abs()
    along = v / face.nose_length
    below = along - 1 + 4 * u * u / face.nose_length  # the underside is round
    profile = torch.where(below < 0, (below.clamp(-1.15, 0.25) + 1.15) / 1.15, (1 - below / 0.22).clamp(min=0))
    grown = along.clamp(0, 1)
    bridge = face.nose_bridge + (face.nose_width * 0.74 - face.nose_bridge) * grown * grown
    eye = side - face.eye_x
    z = _skull(face, u, v)
    z = z + face.nose_height * profile * bump(u / bridge) * (0.85 + 0.15 * grown)
    z = z + 0.05 * bump(u / 0.12, (v - face.nose_length + 0.02) / 0.10)
    z = z + face.nose_hump * bump((along - 0.45) / 0.25, u / 0.1)
    z = z + 0.55 * face.nose_wing * bump((side - face.nose_width * 0.84) / 0.08, (v - face.nose_length - 0.005) / 0.085)
    z = z - face.eye_socket * bump(eye / 0.26, (v + 0.02) / 0.15) + 0.06 * bump(eye / 0.16, v / 0.10)
    z = z + face.brow_ridge * bump((side - 0.42) / 0.36, (v + face.brow_height) / 0.11)
    z = z + (0.07 + face.cheek) * bump((side - 0.62) / 0.28, (v - 0.52) / 0.28)
    z = z + 0.07 * bump(u / (face.mouth_width * 1.1), (v - face.mouth_y) / 0.16)
    z = z - 0.05 * bump(u / 0.25, (v - face.mouth_y - 0.27) / 0.08)
    z = z + face.chin_bump * bump(u / 0.26, (v - face.chin + 0.17) / 0.17)
    z = z - 0.25 * shot.mouth_open * bump(u / 0.3, (v - face.mouth_y) / 0.12)
    return z + 0.06 * shot.smile.clamp(min=0) * bump((side - 0.57) / 0.2, (v - 0.66) / 0.18)
