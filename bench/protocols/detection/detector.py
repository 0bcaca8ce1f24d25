"""`ProtectionDetector`: a classifier of protected and clean photos, and how it learns."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloakbench.bench.core.random_streams import generator, layers_draw_from
from cloakbench.bench.core.ranges import positive, whole
from cloakbench.bench.engine.learning.training import Keep, Reached, train_network

_AT_ONCE = 100
"""Photos of one pass."""


class ProtectionDetector:
    """Learns to score protected photos above clean ones: logistic loss, half of each batch of either kind.

    Args:
        network: makes the untrained network: photos ``[N, 3, H, W]`` in [0, 1] to scores ``[N]``.
        steps, batch, learning_rate: of Adam, whose rate falls to zero along a line; a batch has at least 2 photos.
    """

    def __init__(
        self, network: Callable[[], nn.Module], steps: int = 200, batch: int = 32, learning_rate: float = 0.002
    ) -> None:
        self.network = network
        self.steps, self.batch = whole("steps", steps), whole("batch", batch, 2)
        self.learning_rate = positive("learning_rate", learning_rate)

    def learn(
        self,
        protected: Tensor,
        clean: Tensor,
        name: object,
        device: torch.device,
        reached: Reached,
        keep: Keep,
    ) -> dict[str, Tensor]:
        """Weights of the network that has learnt, on the CPU; a function of photos and name alone.

        Args:
            protected, clean: uint8 ``[N, 3, H, W]``.
            name: of every draw.
            device: where to compute.
            reached, keep: as `train_network`.

        Raises:
            ValueError: there is no photo of one of the classes.
            FloatingPointError: the loss is no longer finite.
        """
        kinds = (protected, clean)
        if not all(map(len, kinds)):
            raise ValueError(
                f"a detector needs photos of both classes: {len(protected)} protected and {len(clean)} clean were given"
            )
        with layers_draw_from("detector", name):
            network = self.network().to(device)
        half = self.batch // 2
        labels = torch.cat([torch.ones(half), torch.zeros(half)]).to(device)

        def loss_of(step: int) -> Tensor:
            draws = generator("detector", name, step)
            rows = [torch.randint(len(photos), (half,), generator=draws) for photos in kinds]
            images = torch.cat([photos[own] for photos, own in zip(kinds, rows, strict=True)])
            mirrored = torch.rand(len(images), generator=draws) < 0.5
            images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
            return F.binary_cross_entropy_with_logits(network(images.to(device).float() / 255), labels)

        return train_network(network, loss_of, self.steps, self.learning_rate, reached, keep)

    @torch.no_grad()
    def scores(self, weights: Mapping[str, Tensor], photos: Tensor, device: torch.device) -> Tensor:
        """Scores ``[N]`` on the CPU of uint8 photos ``[N, 3, H, W]``; higher is rather protected."""
        network = self.network()
        network.load_state_dict(dict(weights))
        network = network.to(device).eval()
        return torch.cat([network(some.to(device).float() / 255).cpu() for some in photos.split(_AT_ONCE)])
