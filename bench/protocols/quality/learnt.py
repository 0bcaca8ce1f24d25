"""The image metrics that were fitted to what people see: LPIPS, DISTS, DreamSim.

LPIPS (Zhang et al. 2018, v0.1) on AlexNet, DISTS (Ding et al. 2020) on VGG-16 and DreamSim (Fu et al. 2023, ensemble)
on three vision transformers. Each is a distance: 0 for equal photos, smaller for more alike.
"""

from __future__ import annotations

import torch

from cloakbench.bench.protocols.quality.image_metric import image_mean
from cloakbench.bench.protocols.quality.network_metric import Distance, NetworkMetric
from cloakbench.models.dists import load_dists
from cloakbench.models.dreamsim import load_dreamsim
from cloakbench.models.perceptual import ALEXNET_SHA256, ALEXNET_SHA256_PREFIX, ALEXNET_URL, LpipsAlex
from cloakbench.models.weight_file import WeightFile


class Lpips(NetworkMetric):
    """`lpips`, with the heads that the package ``lpips`` carries.

    Args:
        path: torchvision's AlexNet state dict; a gap without it.
        sha256_prefix: how the digest of that file starts.
    """

    described = image_mean("lpips", "LPIPS", 3, protects=False)
    needs = "torchvision's AlexNet weights"
    page = "https://github.com/richzhang/PerceptualSimilarity"
    licence = "BSD-2-Clause; AlexNet is torchvision's, BSD-3-Clause, trained on ImageNet"

    def __init__(self, path: str | None = None, sha256_prefix: str = ALEXNET_SHA256_PREFIX) -> None:
        file = None if path is None else WeightFile(str(path), urls=[ALEXNET_URL], sha256=ALEXNET_SHA256)
        super().__init__({"path": file})
        self._source = LpipsAlex(path or "", sha256_prefix)

    def load(self, device: torch.device) -> Distance:
        distance = self._source.load(device)
        return lambda original, protected: distance.to(original)(protected)


class Dists(NetworkMetric):
    """`dists`.

    Args:
        trunk: torchvision's VGG-16.
        heads: the weights of the terms, as the authors publish them.
    """

    described = image_mean("dists", "DISTS", 3, protects=False)
    needs = "torchvision's VGG-16 and the published heads"
    page = "https://github.com/dingkeyan93/DISTS"
    licence = "MIT; VGG-16 is torchvision's, BSD-3-Clause, trained on ImageNet"

    def __init__(self, trunk: WeightFile, heads: WeightFile) -> None:
        super().__init__({"trunk": trunk, "heads": heads})

    def load(self, device: torch.device) -> Distance:
        return load_dists(**self.weights, device=device)


class DreamSim(NetworkMetric):
    """`dreamsim`, the ensemble.

    Args:
        dino, clip, open_clip: the vision transformers.
        adapter, adapter_config: what was fitted.
    """

    described = image_mean("dreamsim", "DreamSim", 3, protects=False)
    needs = "its three vision transformers and the adapter"
    page = "https://github.com/ssundaram21/dreamsim"
    licence = "MIT; DINO Apache-2.0, CLIP and OpenCLIP MIT"
    by_hand = (
        "unpack dreamsim_ensemble_checkpoint.zip of the release v0.2.0-checkpoints (1.26 GB) there; no digest of it is "
        "known, so the files that are used first are kept to"
    )

    def __init__(
        self,
        dino: WeightFile,
        clip: WeightFile,
        open_clip: WeightFile,
        adapter: WeightFile,
        adapter_config: WeightFile,
    ) -> None:
        super().__init__(
            {
                "dino": dino,
                "clip": clip,
                "open_clip": open_clip,
                "adapter": adapter,
                "adapter_config": adapter_config,
            }
        )

    def load(self, device: torch.device) -> Distance:
        return load_dreamsim(**self.weights, device=device)
