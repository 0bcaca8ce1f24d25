"""timm architectures as face networks, with weights from a local file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file

from cloakbench.bench.config.compose import compose_config
from cloakbench.bench.config.networks import build_recogniser
from cloakbench.models.timm_face import timm_network


def test_file_gives_the_embeddings_of_timms_own_network(tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        source: Any = timm.create_model("test_vit", num_classes=24, img_size=112).eval()
    path = tmp_path / "model.safetensors"
    save_file(source.state_dict(), path)
    surrogate = compose_config(
        [
            "model@surrogate=timm",
            "surrogate.name=mine",
            f"surrogate.weights.path={path}",
            "surrogate.network.architecture=test_vit",
            "surrogate.network.embedding_size=24",
            "+surrogate.network.settings.img_size=112",
            "surrogate.inputs.mean=0.5",
            "surrogate.inputs.std=0.5",
            "surrogate.card.family=vit",
        ]
    ).surrogate
    config: Any = OmegaConf.to_container(surrogate, resolve=True)
    model = build_recogniser(config, "mine")
    images = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(1))
    expected = torch.nn.functional.normalize(source(2 * images - 1), dim=1)
    torch.testing.assert_close(model.embed(images), expected)
    assert (model.card.backbone, model.card.embedding_size) == ("test_vit", 24)


def test_unknown_architecture_is_named() -> None:
    with pytest.raises(ValueError, match="no architecture 'resnet51'"):
        timm_network("resnet51")
