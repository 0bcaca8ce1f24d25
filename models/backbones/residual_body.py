"""Residual body: the stem and four stages of ResNet and SE-ResNet, in the names that timm's checkpoints use.

He et al., CVPR 2016; Hu et al., "Squeeze-and-excitation networks", CVPR 2018. The modules are ours: timm brings
all its architectures along, 3 s in each process that loads such a network. A test holds them against timm's.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from cloakbench.models.backbones.layers import Stem

_STEM: Stem = (7, 2)
"""Kernel and stride of the stem of the papers, which a max pooling of stride 2 follows."""
_GATE_DIVISOR = 8
"""timm rounds the width of a gate to a multiple of this, the papers' sixteenth of the channels."""


class ChannelGate(nn.Module):
    """Squeeze and excitation (Hu et al., section 3): every channel times a weight that the means of all decide."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(_GATE_DIVISOR, int(channels / 16 + _GATE_DIVISOR / 2) // _GATE_DIVISOR * _GATE_DIVISOR)
        self.fc1 = nn.Conv2d(channels, inner, 1)
        self.act = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv2d(inner, channels, 1)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.fc2(self.act(self.fc1(x.mean((2, 3), keepdim=True)))))


class ResidualBlock(nn.Module):
    """Convolutions, batch norms and a gate, added to what came in.

    Args:
        channels_in: channels of the input.
        channels: inner width; the output has ``channels * expansion``.
        stride: of the 3x3 convolution that may have one, and of the way past.
        bottleneck: 1x1, 3x3, 1x1 with expansion 4; otherwise 3x3, 3x3 with expansion 1.
        gated: with squeeze and excitation before the sum.
    """

    def __init__(self, channels_in: int, channels: int, stride: int, *, bottleneck: bool, gated: bool) -> None:
        super().__init__()
        channels_out = channels * expansion(bottleneck)
        kernels = ((1, 1), (3, stride), (1, 1)) if bottleneck else ((3, stride), (3, 1))
        widths = (channels_in, *[channels] * (len(kernels) - 1), channels_out)
        parts: list[tuple[str, nn.Module]] = []
        for index, (kernel, step) in enumerate(kernels, 1):
            before, own = widths[index - 1], widths[index]
            convolution = nn.Conv2d(before, own, kernel, step, padding=kernel // 2, bias=False)
            parts += [(f"conv{index}", convolution), (f"bn{index}", nn.BatchNorm2d(own))]
            parts += [(f"act{index}", nn.ReLU(inplace=True))] if index < len(kernels) else []
        parts += [("se", ChannelGate(channels_out))] if gated else []
        for name, part in parts:
            self.add_module(name, part)
        self._names = [name for name, _ in parts]
        self.last_act = nn.ReLU(inplace=True)
        self.downsample = (
            nn.Sequential(nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out))
            if stride != 1 or channels_in != channels_out
            else None
        )
        last_norm = self.get_submodule(f"bn{len(kernels)}")
        nn.init.zeros_(last_norm.get_parameter("weight"))  # a block starts as its shortcut

    def forward(self, x: Tensor) -> Tensor:
        found = x
        for name in self._names:
            found = self.get_submodule(name)(found)
        return self.last_act(found + (x if self.downsample is None else self.downsample(x)))


class ResidualBody(nn.Module):
    """Images ``[N, 3, H, W]`` to a map ``[N, channels[-1] * expansion, h, w]``.

    Args:
        blocks: residual blocks of the four stages.
        channels: inner width of the four stages.
        stem: kernel and stride of the stem convolution, without pooling; None is the papers' stem of 64 channels.
        bottleneck, gated: of every block.
    """

    def __init__(
        self, blocks: Sequence[int], channels: Sequence[int], stem: Stem | None, *, bottleneck: bool, gated: bool
    ) -> None:
        super().__init__()
        width = 64 if stem is None else channels[0]
        kernel, stride = _STEM if stem is None else stem
        self.conv1 = nn.Conv2d(3, width, kernel, stride, padding=kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.act1 = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if stem is None else nn.Identity()
        for stage, (count, inner) in enumerate(zip(blocks, channels, strict=True), 1):
            made = []
            for index in range(count):
                step = 2 if stage > 1 and index == 0 else 1
                made.append(ResidualBlock(width, inner, step, bottleneck=bottleneck, gated=gated))
                width = inner * expansion(bottleneck)
            self.add_module(f"layer{stage}", nn.Sequential(*made))
        for part in self.modules():
            # Without memory there is nothing to fill, and torch would import its compiler to do so.
            if isinstance(part, nn.Conv2d) and (stem is None or part is not self.conv1) and not part.weight.is_meta:
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        found = images
        for part in self.children():
            found = part(found)
        return found


def expansion(bottleneck: bool) -> int:
    """How many times wider a block's output is than its inside."""
    return 4 if bottleneck else 1
