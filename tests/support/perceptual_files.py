"""Drawn weights in the layouts in which those of DISTS and DreamSim are published, for tests; DreamSim's are small."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from cloakbench.models.weight_file import WeightFile

MAPS = 3 + 64 + 128 + 256 + 512 + 512
WIDTH, DEPTH, PATCH, GRID, RANK, PROJECTED = 128, 12, 16, 3, 4, 32
ALPHA = 2.0


def vgg16_features() -> torch.nn.Sequential:
    """torchvision's layers, drawn as it draws them."""
    from torchvision.models import vgg

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        layers = vgg.make_layers(vgg.cfgs["D"])
        for layer in layers:
            if isinstance(layer, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                torch.nn.init.uniform_(layer.bias, -0.1, 0.1)  # type: ignore[arg-type]
    return layers


def dists_files(folder: Path) -> dict[str, WeightFile]:
    """The trunk and the heads."""
    draw = torch.Generator().manual_seed(6)
    torch.save({f"features.{name}": value for name, value in vgg16_features().state_dict().items()}, folder / "vgg.pth")
    heads = {name: torch.rand(1, MAPS, 1, 1, generator=draw) for name in ("alpha", "beta")}
    torch.save(heads, folder / "heads.pt")
    return {
        "trunk": WeightFile(str(folder / "vgg.pth"), strip_prefix="features."),
        "heads": WeightFile(str(folder / "heads.pt")),
    }


def transformer(seed: int, *, is_clip: bool) -> dict[str, Tensor]:
    """A vision transformer by DINO's names, or an image tower of CLIP's by the same."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        return scale * torch.randn(shape, generator=draw)

    def norm(name: str) -> dict[str, Tensor]:
        return {f"{name}.weight": 1 + normal(WIDTH, scale=0.2), f"{name}.bias": normal(WIDTH, scale=0.2)}

    def linear(name: str, given: int, made: int) -> dict[str, Tensor]:
        return {f"{name}.weight": normal(made, given, scale=given**-0.5), f"{name}.bias": normal(made, scale=0.1)}

    state = {
        "cls_token": normal(1, 1, WIDTH),
        "pos_embed": normal(1, GRID**2 + 1, WIDTH, scale=0.3),
        "patch_embed.proj.weight": normal(WIDTH, 3, PATCH, PATCH, scale=(3 * PATCH**2) ** -0.5),
        "patch_embed.proj.bias": normal(WIDTH, scale=0.1),
        **norm("norm"),
    }
    for block in range(DEPTH):
        at = f"blocks.{block}"
        state |= norm(f"{at}.norm1") | norm(f"{at}.norm2")
        state |= linear(f"{at}.attn.qkv", WIDTH, 3 * WIDTH) | linear(f"{at}.attn.proj", WIDTH, WIDTH)
        state |= linear(f"{at}.mlp.fc1", WIDTH, 4 * WIDTH) | linear(f"{at}.mlp.fc2", 4 * WIDTH, WIDTH)
    if is_clip:
        state |= norm("pos_drop") | {"proj": normal(WIDTH, PROJECTED, scale=WIDTH**-0.5)}
    return state


def adapter() -> dict[str, Tensor]:
    """Additions of low rank to the attention of all three, as peft names them."""
    draw = torch.Generator().manual_seed(9)
    found = {}
    for branch in range(3):
        for block in range(DEPTH):
            at = f"base_model.model.extractor_list.{branch}.model.blocks.{block}.attn.qkv"
            found[f"{at}.lora_A.weight"] = 0.3 * torch.randn(RANK, WIDTH, generator=draw)
            found[f"{at}.lora_B.weight"] = 0.3 * torch.randn(3 * WIDTH, RANK, generator=draw)
    return found


def dreamsim_files(folder: Path) -> dict[str, WeightFile]:
    """All five."""
    torch.save(transformer(1, is_clip=False), folder / "dino.pth")
    torch.save({"state_dict": transformer(2, is_clip=True)}, folder / "clip.pth.tar")
    torch.save({"state_dict": transformer(3, is_clip=True)}, folder / "open_clip.pth.tar")
    save_file(adapter(), folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "lora_dropout": 0.3, "target_modules": ["qkv"]}
    (folder / "adapter_config.json").write_text(json.dumps({**settings, "bias": "none"}), encoding="utf-8")
    return {
        "dino": WeightFile(str(folder / "dino.pth")),
        "clip": WeightFile(str(folder / "clip.pth.tar"), state_key="state_dict"),
        "open_clip": WeightFile(str(folder / "open_clip.pth.tar"), state_key="state_dict"),
        "adapter": WeightFile(str(folder / "adapter_model.safetensors")),
        "adapter_config": WeightFile(str(folder / "adapter_config.json")),
    }
