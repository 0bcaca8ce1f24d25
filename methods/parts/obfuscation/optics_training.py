"""A phase mask that learns to spare the points of a face and not its identity, with the network that finds the points.

Source: Lopez, Hinojosa, Arguello and Ghanem, "Privacy-preserving Optics for Enhancing Protection in Face
De-identification", CVPR 2024, the first of its two stages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloakbench.methods.base import Stage
from cloakbench.methods.context import ProtectContext
from cloakbench.methods.parts.gan.networks import drawn, with_weights
from cloakbench.methods.parts.obfuscation.phase_mask import imaged, modes, point_spread, zernike
from cloakbench.methods.parts.taught_faces import clean_features, pixels
from cloakbench.methods.parts.training_steps import learn
from cloakbench.methods.parts.transfer.views import sample

Mask = Literal["learnt", "defocus"]
"""``learnt``: the coefficients learn. ``defocus``, the control: all of the wavefront's error is defocus."""

_SMALLEST, _LARGEST, _TURN_DEGREES, _SHIFT_SHARE = 0.75, 1.05, 20.0, 0.12
_VIEW_DRAWS = 4
_FIRST = 0.03


class PhaseMask(nn.Module):
    """A lens whose wavefront departs from the ideal one by a fixed root mean square, in a shape that may learn.

    Args:
        order: largest radial degree.
        rms_waves: root mean square of the wavefront's error in wavelengths of 550 nm.
        mask: see `Mask`.
    """

    polynomials: Tensor
    pupil: Tensor

    def __init__(self, order: int, rms_waves: float, mask: Mask) -> None:
        super().__init__()
        polynomials, pupil = zernike(order)
        self.register_buffer("polynomials", polynomials)
        self.register_buffer("pupil", pupil)
        self.rms_waves = rms_waves
        first = torch.full((len(modes(order)),), _FIRST / 10 if mask == "learnt" else 0.0)
        first[0] = _FIRST
        self.direction = nn.Parameter(first, mask == "learnt")  # its length is nothing but how slowly it turns

    def waves(self) -> Tensor:
        """The coefficients ``[Q]`` in wavelengths, of length ``rms_waves``."""
        return self.rms_waves * F.normalize(self.direction, dim=0)

    def forward(self, scene: Tensor) -> Tensor:
        return imaged(scene, point_spread(self.waves(), self.polynomials, self.pupil))


class PointFinder(nn.Module):
    """Pictures ``[N, 3, H, W]`` to five points ``[N, 5, 2]`` in [-1, 1], by the centres of five heat maps.

    Args:
        width: channels of the first convolution.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        wide = 2 * width
        layers: list[nn.Module] = []
        for inputs, outputs, kernel, stride, reach in (
            (3, width, 4, 2, 1),
            (width, wide, 4, 2, 1),
            (wide, wide, 3, 1, 2),
            (wide, wide, 3, 1, 4),
        ):
            layers += [nn.Conv2d(inputs, outputs, kernel, stride, reach, reach), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(wide, 5, 3, 1, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        maps = self.layers(F.avg_pool2d(pictures, 2) - 0.5)
        down, across = ((2 * torch.arange(side).to(maps) + 1) / side - 1 for side in maps.shape[-2:])
        share = maps.flatten(2).softmax(dim=2).unflatten(2, maps.shape[-2:])
        return torch.stack([(share.sum(dim=2) * across).sum(dim=2), (share.sum(dim=3) * down).sum(dim=2)], dim=2)


class CameraAndFinder(nn.Module):
    """What learns together: a mask and the network behind it."""

    def __init__(self, mask: PhaseMask, finder: PointFinder) -> None:
        super().__init__()
        self.mask, self.finder = mask, finder


@dataclass(frozen=True)
class OpticsTraining(Stage):
    """Mask and finder learn on auxiliary faces; settings are those of `cloakbench.methods.optics.Optics`."""

    name: ClassVar[str] = "optics"

    mask: Mask
    order: int
    rms_waves: float
    noise_255: float
    width: int
    steps: int
    batch: int
    learning_rate: float
    identity_weight: float

    def make(self) -> CameraAndFinder:
        """The untrained mask and network."""
        return CameraAndFinder(PhaseMask(self.order, self.rms_waves, self.mask), PointFinder(self.width))

    def trained(self, weights: Mapping[str, Tensor]) -> CameraAndFinder:
        """The frozen ones with what `run` gave."""
        pair = with_weights(self.make, dict(weights))
        assert isinstance(pair, CameraAndFinder)
        return pair

    def run(self, context: ProtectContext) -> Mapping[str, Tensor]:
        """Weights of a `CameraAndFinder`.

        Raises:
            ValueError: the auxiliary faces have no landmarks, there are fewer than two, or the loss is not finite.
        """
        faces = context.require_auxiliary()
        if faces.landmarks is None or len(faces) < 2:
            raise ValueError(
                "optics: its camera learns to keep the points of faces, so two auxiliary faces with landmarks are "
                "needed: give a dataset that knows landmarks"
            )
        side = torch.tensor(faces.images.shape[:1:-1])
        points = ((2 * faces.landmarks + 1) / side - 1).to(context.device)
        clean = [] if self.mask == "defocus" else clean_features(faces.images, self.batch, context)
        pair = drawn(self.make, context.seed, self.name, "layers").to(context.device)
        assert isinstance(pair, CameraAndFinder)

        def loss_of(rows: Tensor, draws: torch.Generator) -> Tensor:
            photos = pixels(faces.images, rows, context)
            places = similar_views(torch.rand(len(rows), _VIEW_DRAWS, generator=draws)).to(photos)
            noise = torch.randn(2, *photos.shape, generator=draws).to(photos) * self.noise_255 / 255
            seen, moved = (pair.mask(scene) + own for scene, own in zip(
                (photos, sample(photos, places)), noise, strict=True))  # fmt: skip
            error = (pair.finder(moved) - moved_points(points[rows], places)).norm(dim=2).mean()
            if self.mask == "defocus":
                return error
            cosines = [
                (model.embed(seen.clamp(0, 1)) * own[rows]).sum(dim=1).mean()
                for model, own in zip(context.surrogates, clean, strict=True)
            ]
            return error + self.identity_weight * torch.stack(cosines).mean()

        learn(
            pair.train(),
            loss_of,
            photos=len(faces),
            steps=self.steps,
            batch=self.batch,
            learning_rate=self.learning_rate,
            stream=self.name,
            context=context,
        )
        return pair.state_dict()


def similar_views(draws: Tensor) -> Tensor:
    """Maps ``[N, 2, 3]`` of `sample`: how faces lie in pictures that nobody aligned.

    Args:
        draws: uniform ``[N, 4]`` in [0, 1).
    """
    size, angle, right, down = draws.unbind(dim=1)
    scale = 1 / (_SMALLEST + (_LARGEST - _SMALLEST) * size)
    angle = (2 * angle - 1) * math.radians(_TURN_DEGREES)
    shift = (2 * torch.stack([right, down], dim=1) - 1) * 2 * _SHIFT_SHARE
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    turn = torch.stack([torch.stack([cosine, -sine], dim=1), torch.stack([sine, cosine], dim=1)], dim=1)
    return torch.cat([turn, shift.unsqueeze(2)], dim=2)


def moved_points(points: Tensor, places: Tensor) -> Tensor:
    """Where points ``[N, 5, 2]`` of photos, in [-1, 1], are in their views through ``places`` ``[N, 2, 3]``."""
    return (points - places[:, :, 2].unsqueeze(1)) @ torch.linalg.inv(places[:, :, :2]).mT
