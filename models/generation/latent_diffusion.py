"""Latent diffusion (Rombach et al., CVPR 2022) with classifier-free guidance: the loop, whatever networks are in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Solver(Protocol):
    """Takes a sample from noise to picture; schedulers of diffusers are solvers."""

    timesteps: Any
    init_noise_sigma: Any

    def set_timesteps(self, num_inference_steps: int, device: torch.device) -> None:
        """Forget what was solved before, and plan so many steps."""
        ...

    def scale_model_input(self, sample: Tensor, timestep: Any) -> Tensor:
        """What the network is shown of a sample."""
        ...

    def step(self, model_output: Tensor, timestep: Any, sample: Tensor, *, return_dict: bool) -> tuple[Tensor, ...]:
        """The next sample first."""
        ...


@dataclass(frozen=True)
class DiffusionNetworks:
    """The networks of a latent diffusion model, as diffusers has them.

    Attributes:
        unet: ``(latents [N, C, h, w], timestep, encoder_hidden_states=[N, L, D], return_dict=False)`` to a tuple whose
            first is the noise in them.
        vae: ``decode(latents, return_dict=False)`` gives a tuple whose first is pictures ``[N, 3, H, W]`` in [-1, 1].
        solver: as told above.
        scale: latents are this many times what the decoder takes.
        latent_size: C, h and w.
    """

    unet: nn.Module
    vae: nn.Module
    solver: Solver
    scale: float = 0.18215
    latent_size: tuple[int, int, int] = (4, 64, 64)


def draw_pictures(
    networks: DiffusionNetworks, noise: Tensor, meaning: Tensor, nothing: Tensor, steps: int, guidance: float
) -> Tensor:
    """Pictures in [0, 1], ``[N, 3, H, W]``.

    Args:
        networks: all on the device of ``noise``.
        noise: standard normal, ``[N, C, h, w]``.
        meaning: what each picture is to show, ``[N, L, D]``.
        nothing: the same for an empty text, ``[1, L, D]``.
        steps: of the solver.
        guidance: how far each step goes from nothing towards the meaning, and past it: 1 is no guidance.
    """
    solver = networks.solver
    solver.set_timesteps(steps, device=noise.device)
    latents = noise * solver.init_noise_sigma
    both = torch.cat([nothing.expand_as(meaning), meaning])
    for timestep in solver.timesteps:
        shown = solver.scale_model_input(torch.cat([latents, latents]), timestep)
        without, towards = networks.unet(shown, timestep, encoder_hidden_states=both, return_dict=False)[0].chunk(2)
        predicted = without + guidance * (towards - without)
        latents = solver.step(predicted, timestep, latents, return_dict=False)[0]
    decoded = networks.vae.decode(latents / networks.scale, return_dict=False)[0]  # type: ignore[operator]
    return (decoded / 2 + 0.5).clamp(0, 1)
