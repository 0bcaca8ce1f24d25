"""Distances that see as people do, for methods that ask for one: LPIPS, and its recipe on an embedded network.

Both follow equation 1 of Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR
2018: feature maps of several layers, each position scaled to unit length over the channels, squared differences
weighted and summed over channels, averaged over positions, summed over layers. Nothing is downloaded.

Distances are computed in double precision: convolutions of another batch size differ in the last bits, and dozens of
`sign` steps would turn single precision's into visible differences between a photo protected alone and in company.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from cloakbench.bench.core.code_digests import code_digest
from cloakbench.models.base import Recogniser
from cloakbench.models.state_dict import read_state_dict
from cloakbench.models.weight_file import WeightError, WeightFile

ALEXNET_URL = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
"""torchvision's AlexNet (``AlexNet_Weights.IMAGENET1K_V1.url``), 233 MB."""
ALEXNET_SHA256_PREFIX = "7be5be79"
"""Start of its digest, as its name has it."""
ALEXNET_SHA256 = f"{ALEXNET_SHA256_PREFIX}1159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02"


@dataclass(frozen=True)
class FeatureDistance:
    """A loaded distance.

    Attributes:
        maps: float64 images ``[N, 3, H, W]`` in [0, 1] to one feature map ``[N, C, h, w]`` per layer; differentiable.
        weights: per layer ``[1, C, 1, 1]``, or None for ones.
    """

    maps: Callable[[Tensor], Sequence[Tensor]]
    weights: Sequence[Tensor | None]

    def to(self, clean: Tensor) -> Callable[[Tensor], Tensor]:
        """The function that gives the distances ``[N]`` of photos from ``clean``, whose features are taken once."""
        with torch.no_grad():
            goals = [_unit(features) for features in self.maps(clean.double())]

        def distance(photos: Tensor) -> Tensor:
            layers = []
            for features, goal, weight in zip(self.maps(photos.double()), goals, self.weights, strict=True):
                squares = (_unit(features) - goal).square()
                layers.append((squares if weight is None else squares * weight).sum(dim=1).mean(dim=(-2, -1)))
            return torch.stack(layers).sum(dim=0).to(photos.dtype)

        return distance


class EmbeddedFeatures:
    """The recipe of LPIPS on a recogniser of the embedded zoo, with every channel weighted one.

    It stands in for LPIPS where AlexNet's weights are absent. It is not LPIPS: the network was trained on rendered
    faces, and no weight was fitted to what people see.

    Args:
        model: builds the recogniser; called when the first photo is measured.
        layers: names of the modules of its network whose outputs are compared; what a batch norm does is part of the
            convolution before it (`cloakbench.models.frozen.norms`).
    """

    name: ClassVar[str] = "embedded features"
    is_lpips: ClassVar[bool] = False

    def __init__(self, model: Callable[[], Recogniser], layers: Sequence[str]) -> None:
        self._model = model
        self._layers = tuple(layers)

    def fingerprint(self) -> str:
        """Digest of what decides the distances: weights and code of the network, and this module."""
        model = self._model()
        code = code_digest(__name__, type(model.network).__module__)
        text = f"{model.card.weights_sha256} {model.inputs} {self._layers} {code}"
        return hashlib.sha256(text.encode()).hexdigest()

    def load(self, device: torch.device) -> FeatureDistance:
        """Raises ``ValueError`` when a layer does not exist or the network's weights cannot be read."""
        model = self._model().to(device).double()
        known = dict(model.network.named_modules())
        if unknown := [layer for layer in self._layers if layer not in known]:
            raise ValueError(f"{model.card.name} has no layer {unknown[0]!r}; set perceptual.layers to some it has")

        def maps(images: Tensor) -> Sequence[Tensor]:
            found: list[Tensor] = []

            def collect(module: nn.Module, inputs: Any, output: Tensor) -> None:
                found.append(output)

            keep = [known[layer].register_forward_hook(collect) for layer in self._layers]
            try:
                model.network(model.inputs.prepare(images))
            finally:
                for hook in keep:
                    hook.remove()
            return found

        return FeatureDistance(maps, [None] * len(self._layers))


class LpipsAlex:
    """LPIPS v0.1 with torchvision's AlexNet trunk, read from a local file.

    Args:
        path: the file ``alexnet-owt-7be5be79.pth``.
        sha256_prefix: how its digest starts.
    """

    name: ClassVar[str] = "LPIPS (AlexNet)"
    is_lpips: ClassVar[bool] = True

    def __init__(self, path: str | Path, sha256_prefix: str = ALEXNET_SHA256_PREFIX) -> None:
        self._file = WeightFile(path=str(path))
        self._prefix = sha256_prefix

    def fingerprint(self) -> str:
        """Digest of the file; raises ``WeightError`` when it is missing or another one."""
        return self._resolve()[1]

    def load(self, device: torch.device) -> FeatureDistance:
        """Raises ``WeightError`` when the file is missing, another one, or no AlexNet."""
        import lpips

        path, _ = self._resolve()
        state = read_state_dict(path)
        with torch.random.fork_rng(devices=[]):  # the package draws a trunk before it is given one
            network: Any = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
        # slice3.6.weight of the package is features.6.weight of torchvision.
        source = {name: "features." + name.split(".", 1)[1] for name in network.net.state_dict()}
        if absent := sorted(set(source.values()) - set(state)):
            raise WeightError(f"{path} is no torchvision AlexNet: it lacks {absent[0]}; fetch {self._prefix}...")
        network.net.load_state_dict({name: state[key] for name, key in source.items()})
        network.eval().requires_grad_(False).to(device).double()
        weights = [layer.model[-1].weight for layer in network.lins]
        return FeatureDistance(lambda images: network.net(network.scaling_layer(2 * images - 1)), weights)

    def _resolve(self) -> tuple[Path, str]:
        path, digest = self._file.resolve()
        if not digest.startswith(self._prefix):
            raise WeightError(f"{path} has sha256 {digest[:8]}..., expected {self._prefix}...: fetch it again")
        return path, digest


def _unit(features: Tensor) -> Tensor:
    """Every position scaled to unit length over the channels. At a position without a response, which ReLU makes, this
    norm has gradient 0, where the square root of a sum would have NaN."""
    return features / (torch.linalg.vector_norm(features, dim=1, keepdim=True) + 1e-10)
