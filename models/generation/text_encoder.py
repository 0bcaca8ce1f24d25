"""`TextEncoder`: the text encoder of CLIP (Radford et al., ICML 2021), by the names of published weights.

Words come in as vectors, so that something that is no word, such as the embedding of a face, may stand among them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _Attention(nn.Module):
    """Each place looks at itself and the places before it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, states: Tensor) -> Tensor:
        query, key, value = (
            project(states).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class _Perceptron(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, states: Tensor) -> Tensor:
        raised = self.fc1(states)
        return self.fc2(raised * torch.sigmoid(1.702 * raised))


class _Layer(nn.Module):
    def __init__(self, width: int, inner: int, heads: int) -> None:
        super().__init__()
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.self_attn, self.mlp = _Attention(width, heads), _Perceptron(width, inner)

    def forward(self, states: Tensor) -> Tensor:
        states = states + self.self_attn(self.layer_norm1(states))
        return states + self.mlp(self.layer_norm2(states))


class _Embeddings(nn.Module):
    def __init__(self, words: int, places: int, width: int) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(words, width)
        self.position_embedding = nn.Embedding(places, width)


class _Layers(nn.Module):
    def __init__(self, width: int, inner: int, heads: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(width, inner, heads) for _ in range(layers))


class _TextModel(nn.Module):
    def __init__(self, words: int, places: int, width: int, inner: int, heads: int, layers: int) -> None:
        super().__init__()
        self.embeddings = _Embeddings(words, places, width)
        self.encoder = _Layers(width, inner, heads, layers)
        self.final_layer_norm = nn.LayerNorm(width)


class TextEncoder(nn.Module):
    """CLIP's text encoder; the defaults are those of ViT-L/14, which Stable Diffusion 1.5 has.

    Args:
        words: in the vocabulary.
        places: longest text.
        width: length of a word's vector.
        inner: width inside the perceptrons.
        heads: of each attention.
        layers: how many.
    """

    def __init__(
        self,
        words: int = 49408,
        places: int = 77,
        width: int = 768,
        inner: int = 3072,
        heads: int = 12,
        layers: int = 12,
    ) -> None:
        super().__init__()
        self.places, self.width = places, width
        self.text_model = _TextModel(words, places, width, inner, heads, layers)

    def vectors(self, words: Tensor) -> Tensor:
        """The vectors ``[N, L, width]`` of words ``[N, L]``, without their places."""
        return self.text_model.embeddings.token_embedding(words)

    def forward(self, vectors: Tensor) -> Tensor:
        """What a text means at each of its places, ``[N, L, width]``, from the vectors of its words."""
        model = self.text_model
        states = vectors + model.embeddings.position_embedding.weight[: vectors.shape[1]]
        for layer in model.encoder.layers:
            states = layer(states)
        return model.final_layer_norm(states)
