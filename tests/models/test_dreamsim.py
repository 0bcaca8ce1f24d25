"""DreamSim against its definition written out, and against the authors' package where it is installed."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from perceptual_files import ALPHA, DEPTH, GRID, PATCH, RANK, WIDTH, adapter, dreamsim_files, transformer
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from cloakbench.models.dreamsim import _scaled, load_dreamsim
from cloakbench.models.weight_file import WeightError, WeightFile

CPU = torch.device("cpu")
SIDE = GRID * PATCH
PUBLISHED = {
    "clip": "clip_vitb16_pretrain.pth.tar",
    "open_clip": "open_clip_vitb16_pretrain.pth.tar",
    "adapter": "ensemble_lora/adapter_model.safetensors",
    "adapter_config": "ensemble_lora/adapter_config.json",
}
"""Setting to name in the archive."""


@pytest.fixture
def files(tmp_path: Path) -> dict[str, WeightFile]:
    return dreamsim_files(tmp_path)


def photos(side: int, seed: int = 0) -> Tensor:
    """8-bit photos in [0, 1]."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, 3, side, side), generator=draw) / 255


def embedded(state: dict[str, Tensor], branch: int, images: Tensor) -> Tensor:
    """A photo's vector by one transformer, head by head; low ranks are added to what passes, not to weights."""
    is_clip, low = "proj" in state, adapter()
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073] if is_clip else [0.485, 0.456, 0.406])
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711] if is_clip else [0.229, 0.224, 0.225])
    x = (images - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    x = F.conv2d(x, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=PATCH)
    x = torch.cat([state["cls_token"].expand(len(x), 1, WIDTH), x.flatten(2).mT], dim=1) + state["pos_embed"]

    def norm(name: str, tokens: Tensor) -> Tensor:
        eps = 1e-5 if is_clip else 1e-6
        return F.layer_norm(tokens, (WIDTH,), state[f"{name}.weight"], state[f"{name}.bias"], eps)

    def linear(name: str, tokens: Tensor) -> Tensor:
        return F.linear(tokens, state[f"{name}.weight"], state[f"{name}.bias"])

    x = norm("pos_drop", x) if is_clip else x
    for block in range(DEPTH):
        at = f"blocks.{block}"
        given = norm(f"{at}.norm1", x)
        key = f"base_model.model.extractor_list.{branch}.model.{at}.attn.qkv"
        added = given @ low[f"{key}.lora_A.weight"].mT @ low[f"{key}.lora_B.weight"].mT * (ALPHA / RANK)
        query, keys, value = (linear(f"{at}.attn.qkv", given) + added).chunk(3, dim=-1)
        heads = [slice(start, start + 64) for start in range(0, WIDTH, 64)]
        parts = [(query[..., h] @ keys[..., h].mT / 8).softmax(-1) @ value[..., h] for h in heads]
        x = x + linear(f"{at}.attn.proj", torch.cat(parts, dim=-1))
        hidden = linear(f"{at}.mlp.fc1", norm(f"{at}.norm2", x))
        hidden = hidden * torch.sigmoid(1.702 * hidden) if branch == 1 else F.gelu(hidden)
        x = x + linear(f"{at}.mlp.fc2", hidden)
    return norm("norm", x)[:, 0] @ state["proj"] if is_clip else x[:, 0]


def test_dreamsim_is_its_definition(files: dict[str, WeightFile]) -> None:
    left, right = photos(SIDE), photos(SIDE, 1)
    found = load_dreamsim(**files, device=CPU)(left, right)
    both = []
    for images in (left, right):
        parts = [embedded(transformer(n + 1, is_clip=n > 0), n, images) for n in range(3)]
        vector = torch.cat(parts, dim=1).double()
        both.append(vector - vector.mean(dim=1, keepdim=True))
    expected = 1 - F.cosine_similarity(*both)
    assert expected.min() > 0.01
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-6)


def test_dreamsim_is_that_of_the_authors_package(
    files: dict[str, WeightFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose networks are made small here, and whose DINO it would fetch."""
    package = pytest.importorskip("dreamsim", reason="pip install dreamsim: the authors' package is no part of `test`")
    from dreamsim.feature_extraction import load_clip_as_dino, load_open_clip_as_dino, vision_transformer

    def small(**_: object) -> nn.Module:
        return vision_transformer.VisionTransformer(
            img_size=[SIDE],
            patch_size=PATCH,
            embed_dim=WIDTH,
            depth=DEPTH,
            num_heads=WIDTH // 64,
            qkv_bias=True,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
        )

    def dino(*_: object) -> nn.Module:
        network = small()
        network.load_state_dict(transformer(1, is_clip=False))
        return network

    monkeypatch.setattr(load_clip_as_dino, "vit_base", small)
    monkeypatch.setattr(load_open_clip_as_dino, "vit_base", small)
    monkeypatch.setattr(torch.hub, "load", dino)
    monkeypatch.setattr(torch.hub, "set_dir", lambda _: None)
    cache = tmp_path / "cache"
    (cache / "ensemble_lora").mkdir(parents=True)
    for setting, name in PUBLISHED.items():
        (cache / name).write_bytes(files[setting].place.read_bytes())
    head = {f"module.head.mlp.{layer}.{part}": torch.ones(1) for layer in (0, 2, 4) for part in ("weight", "bias")}
    torch.save(
        {"student": {**head, "module.head.last_layer.weight": torch.ones(1)}}, cache / "dino_vitb16_pretrain.pth"
    )
    model, _ = package.dreamsim(device="cpu", cache_dir=str(cache))

    left, right = photos(SIDE), photos(SIDE, 1)
    found = load_dreamsim(**files, device=CPU)(left, right)
    torch.testing.assert_close(found, model(left, right), rtol=1e-4, atol=1e-6)


def test_equal_photos_are_0_apart(files: dict[str, WeightFile]) -> None:
    left = photos(SIDE)
    assert (load_dreamsim(**files, device=CPU)(left, left) == 0).all()


def test_photos_are_scaled_as_pil_scales_pictures() -> None:
    photo = photos(17)[:1]
    picture = Image.fromarray((photo[0] * 255).round().byte().permute(1, 2, 0).numpy())
    expected = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.int16)
    found = (_scaled(photo, SIDE)[0] * 255).round().short().permute(1, 2, 0).numpy()
    assert np.abs(found - expected).max() <= 1
    assert (found == expected).mean() > 0.95


def test_files_that_are_not_those_of_dreamsim_are_one_line(files: dict[str, WeightFile], tmp_path: Path) -> None:
    def refused(message: str, **given: Path) -> None:
        changed = {name: WeightFile(str(path), state_key=files[name].state_key) for name, path in given.items()}
        with pytest.raises(WeightError, match=message) as caught:
            load_dreamsim(**{**files, **changed}, device=CPU)
        assert "\n" not in str(caught.value)

    def saved(name: str, content: object) -> Path:
        torch.save(content, tmp_path / name)
        return tmp_path / name

    refused("no weight file at", dino=tmp_path / "absent.pth")
    (tmp_path / "cut.pth").write_bytes(files["dino"].place.read_bytes()[:5000])
    refused("cut off", dino=tmp_path / "cut.pth")
    plain = transformer(2, is_clip=False)
    refused("has no projection", clip=saved("no_proj.pth", {"state_dict": plain}))
    refused("has no entry 'state_dict'", clip=saved("bare.pth", plain))
    refused("no blocks.1.attn.qkv.weight", dino=saved("half.pth", {k: v for k, v in plain.items() if ".1." not in k}))
    refused("unexpected: head.bias", dino=saved("head.pth", {**plain, "head.bias": torch.ones(3)}))
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    refused("no adapter_config.json", adapter_config=tmp_path / "config.json")
    (tmp_path / "zero.json").write_text(json.dumps({"r": 0, "lora_alpha": 1}), encoding="utf-8")
    refused("no adapter_config.json", adapter_config=tmp_path / "zero.json")
    low = adapter()
    save_file({name: one for name, one in low.items() if "list.2." not in name}, tmp_path / "two.safetensors")
    refused("adds to 2 transformers", adapter=tmp_path / "two.safetensors")
    half = "base_model.model.extractor_list.2.model.blocks.1.attn.qkv.lora_B.weight"
    save_file({name: one for name, one in low.items() if name != half}, tmp_path / "b.safetensors")
    refused("half an addition", adapter=tmp_path / "b.safetensors")
    save_file({"model.weight": torch.ones(2)}, tmp_path / "o.safetensors")
    refused("not the ensemble's adapter", adapter=tmp_path / "o.safetensors")
