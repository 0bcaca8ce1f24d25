"""DreamSim: how far two photos are apart in layout, pose and content, from local files.

Fu, Tamir, Sundaram, Chai, Zhang, Dekel and Isola, "DreamSim: Learning New Dimensions of Human Visual Similarity using
Synthetic Data", NeurIPS 2023 (arXiv:2306.09344), the ensemble. Three vision transformers (DINO, CLIP and OpenCLIP, all
ViT-B/16 at 224 pixels), whose attention was fitted to what people see by additions of low rank, give one vector each:
DINO the class token of its last block, the others their usual image embedding. Their concatenation, centred and scaled
to unit length, is the embedding of a photo, and the distance is one minus the cosine.

The transformers are timm's. The files are read as data: no code of theirs runs, and nothing is looked for elsewhere.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cloakbench.models.loading import fill
from cloakbench.models.state_dict import state_of
from cloakbench.models.weight_file import WeightError, WeightFile

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer

_HEAD = 64
"""Channels of an attention head, in every ViT-B."""
_ADDITION = re.compile(r"extractor_list\.(\d+)\.model\.(blocks\.\d+\.attn\.qkv)\.lora_([AB])\.weight$")


class _Kind(NamedTuple):
    """What tells the transformers apart: CLIP's have a norm before the first block and a projection."""

    mean: Sequence[float]
    std: Sequence[float]
    is_clip: bool
    quick_gelu: bool


_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_DINO = _Kind((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), is_clip=False, quick_gelu=False)
_CLIP = _Kind(_CLIP_MEAN, _CLIP_STD, is_clip=True, quick_gelu=True)
_OPEN_CLIP = _Kind(_CLIP_MEAN, _CLIP_STD, is_clip=True, quick_gelu=False)


@dataclass(frozen=True)
class _Branch:
    """One transformer of the ensemble.

    Attributes:
        network: normalised photos ``[N, 3, S, S]`` to tokens ``[N, T, C]``, the class token first.
        projection: from the class token to the embedding, ``[C, D]``; None to leave it as it is.
        kind: how photos are normalised.
    """

    network: VisionTransformer
    projection: Tensor | None
    kind: _Kind

    def __call__(self, photos: Tensor) -> Tensor:
        mean, std = (photos.new_tensor(one).view(1, 3, 1, 1) for one in (self.kind.mean, self.kind.std))
        token = self.network.forward_features((photos - mean) / std)[:, 0]
        return token if self.projection is None else token @ self.projection


@dataclass(frozen=True)
class DreamSimDistance:
    """The loaded distance.

    Attributes:
        branches: DINO, CLIP, OpenCLIP.
        side_px: what photos are scaled to.
    """

    branches: Sequence[_Branch]
    side_px: int

    def __call__(self, left: Tensor, right: Tensor) -> Tensor:
        """Distances ``[N]`` of two batches of photos ``[N, 3, H, W]`` in [0, 1], from 0 for equal ones to 2."""
        own, other = self.embed(torch.cat([left, right])).chunk(2)
        return (own - other).square().sum(dim=1).div(2).to(left.dtype)

    def embed(self, photos: Tensor) -> Tensor:
        """Unit vectors of mean 0, float64 ``[N, D]``."""
        scaled = _scaled(photos, self.side_px)
        features = torch.cat([branch(scaled) for branch in self.branches], dim=1).double()
        return F.normalize(features - features.mean(dim=1, keepdim=True), dim=1)


def load_dreamsim(
    dino: WeightFile,
    clip: WeightFile,
    open_clip: WeightFile,
    adapter: WeightFile,
    adapter_config: WeightFile,
    device: torch.device,
) -> DreamSimDistance:
    """The distance from its five files, in the layouts in which they are published.

    Args:
        dino: the state dict of DINO's ViT-B/16.
        clip, open_clip: those of CLIP's image towers by DINO's names, with ``pos_drop`` for the norm before the first
            block and ``proj`` for the projection.
        adapter: the additions of low rank to the ``qkv`` of every block, as peft saves them.
        adapter_config: their ``r`` and ``lora_alpha``, JSON.
        device: where photos will be.

    Raises:
        WeightError: a file is missing, damaged or another one; one line.
    """
    additions = _additions(adapter, _scale(adapter_config))
    sources = ((dino, _DINO), (clip, _CLIP), (open_clip, _OPEN_CLIP))
    branches = [_branch(file, additions[number], kind, device) for number, (file, kind) in enumerate(sources)]
    sides = {branch.network.patch_embed.img_size[0] for branch in branches}
    if len(sides) > 1:
        raise WeightError(
            f"the transformers of DreamSim are made for photos of {sorted(sides)} pixels: fetch them again"
        )
    return DreamSimDistance(branches, sides.pop())


def _branch(file: WeightFile, additions: Mapping[str, Tensor], kind: _Kind, device: torch.device) -> _Branch:
    path, state = state_of(file)
    for layer, addition in additions.items():
        name = f"{layer}.weight"
        if name not in state or state[name].shape != addition.shape:
            raise WeightError(
                f"{path} has no {name} of shape {list(addition.shape)}, which is added to: fetch it again"
            )
        state[name] = state[name] + addition
    projection = state.pop("proj", None) if kind.is_clip else None
    if kind.is_clip:
        if projection is None:
            raise WeightError(f"{path} has no projection proj: fetch it again")
        state = {name.replace("pos_drop.", "norm_pre."): tensor for name, tensor in state.items()}
    needed = ("cls_token", "pos_embed", "patch_embed.proj.weight")
    if absent := [name for name in needed if name not in state or state[name].ndim < 3]:
        raise WeightError(f"{path} is no vision transformer: it lacks {absent[0]}; fetch it again")
    network = cast("VisionTransformer", fill(partial(_transformer, state, kind), state, path))
    if not kind.is_clip:
        network.norm = nn.Identity()  # DINO's token is taken before it
    network.to(device).requires_grad_(False).eval()
    return _Branch(network, None if projection is None else projection.to(device), kind)


def _transformer(state: Mapping[str, Tensor], kind: _Kind) -> VisionTransformer:
    """The transformer that a state dict is of, by the shapes in it."""
    from timm.layers.activations import QuickGELU
    from timm.models.vision_transformer import VisionTransformer

    width, patch = state["cls_token"].shape[-1], state["patch_embed.proj.weight"].shape[-1]
    eps = 1e-5 if kind.is_clip else 1e-6
    network = VisionTransformer(
        img_size=patch * math.isqrt(state["pos_embed"].shape[1] - 1),
        patch_size=patch,
        num_classes=0,
        embed_dim=width,
        depth=len({name.split(".")[1] for name in state if name.startswith("blocks.")}),
        num_heads=max(1, width // _HEAD),
        norm_layer=partial(nn.LayerNorm, eps=eps),
        act_layer=QuickGELU if kind.quick_gelu else nn.GELU,
    )
    if kind.is_clip:
        network.norm_pre = nn.LayerNorm(width, eps=eps)
    return network


def _scale(file: WeightFile) -> float:
    """What the additions are multiplied by."""
    path, digest = file.resolve(remember=False)
    try:
        settings = json.loads(path.read_bytes())
        scale = float(settings["lora_alpha"]) / float(settings["r"])
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise WeightError(f"{path} is no adapter_config.json with r and lora_alpha: fetch it again") from error
    file.keep_to(path, digest)
    return scale


def _additions(file: WeightFile, scale: float) -> list[dict[str, Tensor]]:
    """What is added to which layer of each of the three transformers."""
    path, state = state_of(file)
    factors: dict[tuple[int, str], dict[str, Tensor]] = {}
    for name, tensor in state.items():
        if (found := _ADDITION.search(name)) is None or int(found[1]) > 2:
            raise WeightError(f"{path} is not the ensemble's adapter: it has {name!r}; fetch it again")
        factors.setdefault((int(found[1]), found[2]), {})[found[3]] = tensor
    added: list[dict[str, Tensor]] = [{}, {}, {}]
    for (number, layer), pair in factors.items():
        if set(pair) != {"A", "B"} or pair["B"].shape[-1] != pair["A"].shape[0]:
            raise WeightError(f"{path} has half an addition to {layer} of transformer {number}: fetch it again")
        added[number][layer] = scale * pair["B"] @ pair["A"]
    if not all(added):
        raise WeightError(f"{path} adds to {sum(map(bool, added))} transformers and not to 3: fetch it again")
    return added


def _scaled(photos: Tensor, side_px: int) -> Tensor:
    """Bicubic, as PIL scales the pictures of the authors: rows first, then columns, in 8 bits after each."""
    for size in ([photos.shape[-2], side_px], [side_px, side_px]):
        if list(photos.shape[-2:]) != size:
            scaled = F.interpolate(photos, size=size, mode="bicubic", antialias=True, align_corners=False)
            photos = scaled.mul(255).round().clamp(0, 255).div(255)
    return photos
