"""`Arc2Face` (Papantoniou et al., ECCV 2024): pictures of the person that a face embedding describes.

The embedding of the photo stands in a fixed sentence in place of one word; a text encoder that was trained for it
takes the sentence to the space that Stable Diffusion 1.5 is guided in, and a UNet that was trained for faces draws.
Nothing is fetched: weights are files that the user puts there. No picture was made with the published weights by this
project.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloakbench.bench.core.ranges import at_least, whole
from cloakbench.models.base import Recogniser
from cloakbench.models.generation.latent_diffusion import DiffusionNetworks, draw_pictures
from cloakbench.models.generation.text_encoder import TextEncoder
from cloakbench.models.generators import Generator, GeneratorCard, GeneratorError
from cloakbench.models.loading import fill
from cloakbench.models.state_dict import read_state_dict
from cloakbench.models.weight_file import WeightError, WeightFile

_BEGIN, _END = 49406, 49407
SENTENCE = (_BEGIN, 1125, 539, 320, 1014, 2533, _END)
"""``photo of a id person`` in the words of CLIP's vocabulary, filled up with its end; the authors' sentence."""
FACE_PLACE = 4
"""Where ``id`` stands, and the face in its place."""
_UNET = {
    "sample_size": 64,
    "in_channels": 4,
    "out_channels": 4,
    "layers_per_block": 2,
    "block_out_channels": (320, 640, 1280, 1280),
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
_VAE = {
    "sample_size": 512,
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 2,
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}
_SOLVER = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
}
"""Stable Diffusion 1.5: its UNet, decoder and noise, as their published configurations have them."""
_OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""What attention of the decoder was called in files of older versions."""


def faces_as_text(encoder: TextEncoder, embeddings: Tensor) -> Tensor:
    """What the sentence about each face means, ``[N, L, D]``, from unit embeddings ``[N, E]``, E at most D."""
    words = torch.full((len(embeddings), encoder.places), _END, device=embeddings.device)
    words[:, : len(SENTENCE)] = torch.tensor(SENTENCE, device=embeddings.device)
    vectors = encoder.vectors(words)
    vectors[:, FACE_PLACE] = F.pad(embeddings, (0, encoder.width - embeddings.shape[1])).to(vectors.dtype)
    return encoder(vectors)


def empty_text(encoder: TextEncoder, device: torch.device) -> Tensor:
    """What an empty sentence means, ``[1, L, D]``."""
    words = torch.full((1, encoder.places), _END, device=device)
    words[:, 0] = _BEGIN
    return encoder(encoder.vectors(words))


class Arc2Face(Generator):
    """Draws faces of an embedding.

    Args:
        recogniser: whose embeddings the text encoder was trained on.
        encoder: from embedding to meaning.
        networks: draw pictures from meanings.
        align: picture uint8 ``[3, H, W]`` to aligned face, uint8 ``[3, 112, 112]``; raises ``ValueError`` for none.
        steps, guidance: see `draw_pictures`; official: 25 and 3.
        together: pictures in one pass; bounds memory.
        card: what to know of it.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        encoder: TextEncoder,
        networks: DiffusionNetworks,
        align: Callable[[Tensor], Tensor],
        *,
        steps: int,
        guidance: float,
        together: int,
        card: GeneratorCard,
    ) -> None:
        super().__init__()
        self.recogniser, self.encoder = recogniser, encoder
        self.unet, self.vae = networks.unet, networks.vae  # as modules of this one they move to its device
        self.networks, self.align = networks, align
        self.steps, self.guidance = whole("steps", steps), at_least("guidance", guidance, 1)
        self.together = whole("together", together)
        self.card = card
        self.passes_per_view = 2 * self.steps
        self.freeze()

    def draw_views(self, photos: Tensor, count: int, streams: Sequence[torch.Generator]) -> Tensor:
        size = self.networks.latent_size
        noise = torch.stack([torch.randn(count, *size, generator=stream) for stream in streams]).to(photos.device)
        meaning = faces_as_text(self.encoder, self.recogniser.embed(photos))
        nothing = empty_text(self.encoder, photos.device)
        views = []
        for row, own in enumerate(noise):
            for some in own.split(self.together):
                same = meaning[row].expand(len(some), -1, -1)
                pictures = draw_pictures(self.networks, some, same, nothing, self.steps, self.guidance)
                views += [self._aligned(picture) for picture in pictures]
        made = torch.stack(views).to(photos.device)
        return made.view(len(photos), count, *made.shape[1:])

    def _aligned(self, picture: Tensor) -> Tensor:
        if not bool(picture.isfinite().all()):
            raise GeneratorError(f"generator {self.card.name} gave a value that is not finite: choose another photo")
        try:
            crop = self.align((picture * 255).round().to(torch.uint8).cpu())
        except ValueError as problem:
            raise GeneratorError(f"generator {self.card.name}: {problem}: choose another photo or seed") from problem
        return crop.float() / 255


def load_arc2face(
    *,
    name: str,
    recogniser: Recogniser,
    align: Callable[[Tensor], Tensor],
    weights: Mapping[str, WeightFile],
    steps: int,
    guidance: float,
    together: int,
    card: Mapping[str, Any],
) -> Arc2Face:
    """Arc2Face from files on disk.

    Args:
        name: key of the generator in tables.
        recogniser: ArcFace as the authors give it.
        align: see `Arc2Face`.
        weights: of ``encoder``, ``unet`` and ``vae``.
        steps, guidance, together: see `Arc2Face`.
        card: the fields of `GeneratorCard` but name and digest.

    Raises:
        WeightError: the package or a file is missing, or a file is not the one asked for or does not fit.
    """
    builders = network_builders()
    if missing := sorted(set(builders) - set(weights)):
        raise WeightError(f"generator {name} has no file of its {missing[0]}: set generator.weights.{missing[0]}")
    page = str(card.get("page", ""))
    parts: dict[str, Any] = {part: _load(weights[part], build, page) for part, build in builders.items()}
    digests = [recogniser.card.weights_sha256, *(digest for _, digest in parts.values())]
    described = GeneratorCard(name=name, weights_sha256=hashlib.sha256(" ".join(digests).encode()).hexdigest(), **card)
    networks = DiffusionNetworks(parts["unet"][0], parts["vae"][0], official_solver())
    return Arc2Face(
        recogniser,
        parts["encoder"][0],
        networks,
        align,
        steps=steps,
        guidance=guidance,
        together=together,
        card=described,
    )


def network_builders() -> dict[str, Callable[[], nn.Module]]:
    """What builds each network of published size, by the name of its file.

    Raises:
        WeightError: diffusers is not installed.
    """
    diffusers = _diffusers()
    return {
        "encoder": TextEncoder,
        "unet": lambda: diffusers.UNet2DConditionModel(**_UNET),
        "vae": lambda: diffusers.AutoencoderKL(**_VAE),
    }


def official_solver() -> Any:
    """DPM-Solver++ (Lu et al., 2022) on the noise of Stable Diffusion 1.5.

    Raises:
        WeightError: diffusers is not installed.
    """
    return _diffusers().DPMSolverMultistepScheduler(**_SOLVER)


def _diffusers() -> Any:
    try:
        return import_module("diffusers")
    except ImportError as error:
        raise WeightError("generator arc2face needs diffusers: pip install 'cloakbench[arc2face]'") from error


def _load(weights: WeightFile, build: Callable[[], nn.Module], page: str) -> tuple[nn.Module, str]:
    path, digest = weights.resolve(page, remember=False)
    state = read_state_dict(path, weights.state_key, weights.strip_prefix, weights.ignore)
    known = {_today(key): value for key, value in state.items() if not key.endswith(".position_ids")}
    network = fill(build, known, path)
    weights.keep_to(path, digest)
    return network.requires_grad_(False).eval(), digest


def _today(key: str) -> str:
    """The name of a parameter in this version of diffusers; other names stay."""
    head, dot, tail = key.partition(".mid_block.attentions.0.")
    old, rest = tail.partition(".")[::2]
    return f"{head}{dot}{_OLD_NAMES[old]}.{rest}" if dot and old in _OLD_NAMES else key
