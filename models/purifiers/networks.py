"""Networks of purifiers, small forms of published ones: photos ``[N, 3, H, W]`` in [0, 1] to photos of that shape.

Sides of photos are multiples of 8. What leaves [0, 1] is cut by `cloakbench.models.base.Purifier`.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DnCNN(nn.Module):
    """A chain of convolutions that finds the noise: ``x - net(x)``.

    Source: Zhang et al., "Beyond a Gaussian Denoiser", TIP 2017: 17 layers of 64 channels.

    Args:
        width: channels.
        depth: convolutions, at least 3.
    """

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        inner = [_normed(width, width) for _ in range(depth - 2)]
        first, last = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 3, 3, padding=1)
        self.layers = nn.Sequential(first, nn.ReLU(), *inner, last)

    def forward(self, photos: Tensor) -> Tensor:
        return photos - self.layers(photos)


class FFDNet(nn.Module):
    """A chain of convolutions on the four halved photos, told how strong the noise is.

    Source: Zhang et al., "FFDNet: Toward a Fast and Flexible Solution for CNN-Based Image Denoising", TIP 2018: 12
    layers of 96 channels for colour, with a map of noise levels. The level is the same everywhere here, that of
    an Linf budget of 8 grey levels.

    Args:
        width: channels.
        depth: convolutions, at least 3.
    """

    level = 8 / 255

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        inner = [_normed(width, width) for _ in range(depth - 2)]
        first, last = nn.Conv2d(13, width, 3, padding=1), nn.Conv2d(width, 12, 3, padding=1)
        self.layers = nn.Sequential(first, nn.ReLU(), *inner, last)

    def forward(self, photos: Tensor) -> Tensor:
        halved = F.pixel_unshuffle(photos, 2)
        level = halved.new_full((len(halved), 1, *halved.shape[-2:]), self.level)
        return F.pixel_shuffle(self.layers(torch.cat([halved, level], dim=1)), 2)


class DenseRestorer(nn.Module):
    """Residual blocks of densely joined convolutions on halved photos, added to the photo.

    Source: Zhang et al., "Designing a Practical Degradation Model for Deep Blind Image Super-Resolution" (BSRGAN),
    ICCV 2021, whose network is that of ESRGAN (Wang et al., 2018). It does not enlarge here.

    Args:
        width: channels.
        depth: blocks; the paper has 23 of three each.
    """

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(12, width, 3, padding=1)
        self.blocks = nn.Sequential(*(_DenseBlock(width) for _ in range(depth)))
        self.last = nn.Conv2d(width, 12, 3, padding=1)

    def forward(self, photos: Tensor) -> Tensor:
        code = self.first(F.pixel_unshuffle(photos, 2))
        return photos + F.pixel_shuffle(self.last(code + self.blocks(code)), 2)


class _DenseBlock(nn.Module):
    """Five convolutions, each of all that came before, and a fifth of the last one's answer added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        grown = width // 2
        self.layers = nn.ModuleList(
            nn.Conv2d(width + place * grown, grown if place < 4 else width, 3, padding=1) for place in range(5)
        )

    def forward(self, code: Tensor) -> Tensor:
        known, answer = [code], code
        for layer in self.layers:
            answer = layer(torch.cat(known, dim=1))
            known.append(F.leaky_relu(answer, 0.2))
        return code + 0.2 * answer


class UNet(nn.Module):
    """Three halvings and three doublings, with what was seen at each size handed across; added to the photo.

    Source: Ronneberger et al., "U-Net", MICCAI 2015.

    Args:
        width: channels at full size, which double at each halving.
        depth: halvings.
        inputs: channels of what is given; the first three are the photo.
        residual: whether the answer is added to the photo.
    """

    def __init__(self, width: int, depth: int, inputs: int = 3, residual: bool = True) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth)]
        sources = [inputs, *widths]
        self.down = nn.ModuleList(_twice(a, b) for a, b in zip(sources, widths, strict=False))
        self.up = nn.ModuleList(_twice(a + b, a) for a, b in zip(widths[-2::-1], widths[:0:-1], strict=True))
        self.last = nn.Conv2d(width, 3, 1)
        self.residual = residual

    def forward(self, given: Tensor) -> Tensor:
        code, seen = given, []
        for place, layers in enumerate(self.down):
            code = layers(F.max_pool2d(code, 2) if place else code)
            seen.append(code)
        for layers, kept in zip(self.up, seen[-2::-1], strict=True):
            code = layers(torch.cat([kept, F.interpolate(code, size=kept.shape[-2:])], dim=1))
        answer = self.last(code)
        return given[:, :3] + answer if self.residual else answer


class Inpainter(nn.Module):
    """A U-Net that never sees the pixels which it answers: every second block is blanked and filled in, then the rest.

    Source: Rozsa and Boult's and PrivacyProber's idea of repairing a photo by inpainting (Rot et al., "PrivacyProber",
    TDSC 2023); the network is `UNet`.

    Args:
        width, depth: see `UNet`.
    """

    block_px = 8

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.network = UNet(width, depth, inputs=4, residual=False)

    def forward(self, photos: Tensor) -> Tensor:
        rows, columns = (torch.arange(side, device=photos.device) // self.block_px for side in photos.shape[-2:])
        even = ((rows[:, None] + columns) % 2 == 0).to(photos.dtype).expand(len(photos), 1, -1, -1)
        odd = 1 - even
        filled = [self.network(torch.cat([photos * kept, kept], dim=1)) for kept in (even, odd)]
        return odd * filled[0] + even * filled[1]


class Autoencoder(nn.Module):
    """A code of an eighth of the side, and the photo made again of it; nothing else is handed across.

    Source: Folz et al., "Adversarial Defense based on Structure-to-Signal Autoencoders", WACV 2020.

    Args:
        width: channels at half size, which double at each halving.
        depth: halvings.
    """

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        widths = [3, *(width * 2**level for level in range(depth))]
        down = [nn.Sequential(nn.Conv2d(a, b, 4, 2, 1), nn.BatchNorm2d(b), nn.ReLU()) for a, b in pairwise(widths)]
        up = [
            nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(a, b, 3, 1, 1), nn.BatchNorm2d(b), nn.ReLU())
            for a, b in pairwise([*widths[:0:-1], width])
        ]
        self.layers = nn.Sequential(*down, *up, nn.Conv2d(width, 3, 3, 1, 1))

    def forward(self, photos: Tensor) -> Tensor:
        return self.layers(photos)


def _normed(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())


def _twice(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(_normed(inputs, outputs), _normed(outputs, outputs))
