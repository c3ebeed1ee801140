"""MiniLM in torch with small trainable changes: low-rank on its matrices, additive on the rest."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

HEADS = 12
EPSILON = 1e-12
MATRICES = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
)
NORMS = ("attention.output.LayerNorm", "output.LayerNorm")
Arrays = Mapping[str, NDArray[np.float32]]


class LowRankLinear(nn.Module):
    """A frozen layer whose weight is W + B A, with a trainable bias."""

    def __init__(self, weight: Tensor, bias: Tensor, *, rank: int) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("frozen_bias", bias)
        outputs, inputs = weight.shape
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.down = nn.Parameter(torch.randn(rank, inputs) / math.sqrt(inputs))
        self.up = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output; the change is computed apart, which needs no gradient of W."""
        frozen = functional.linear(x, self.weight, self.frozen_bias + self.bias)
        return frozen + functional.linear(functional.linear(x, self.down), self.up)


class ShiftedNorm(nn.Module):
    """A layer normalisation with trainable additions to its frozen weight and bias."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("frozen_weight", weight)
        self.register_buffer("frozen_bias", bias)
        self.weight = nn.Parameter(torch.zeros_like(weight))
        self.bias = nn.Parameter(torch.zeros_like(bias))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise over the last axis."""
        weight, bias = self.frozen_weight + self.weight, self.frozen_bias + self.bias
        return functional.layer_norm(x, (x.shape[-1],), weight, bias, EPSILON)


class Layer(nn.Module):
    """One of MiniLM's layers."""

    def __init__(self, weights: Arrays, number: int, *, rank: int) -> None:
        super().__init__()

        def pair(name: str) -> tuple[Tensor, Tensor]:
            prefix = f"encoder.layer.{number}.{name}"
            return tuple(torch.tensor(weights[f"{prefix}.{x}"]) for x in ("weight", "bias"))

        parts = {name: LowRankLinear(*pair(name), rank=rank) for name in MATRICES}
        parts |= {name: ShiftedNorm(*pair(name)) for name in NORMS}
        self.parts = nn.ModuleDict({name.replace(".", "-"): part for name, part in parts.items()})
        self.number = number

    def part(self, name: str, x: Tensor) -> Tensor:
        """Run one of the layer's parts."""
        return self.parts[name.replace(".", "-")](x)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(n, length, d) to the same; `mask` is added to the attention's scores."""
        n, length, width = x.shape
        query, key, value = (
            self.part(f"attention.self.{name}", x).view(n, length, HEADS, -1).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        seen = seen.transpose(1, 2).reshape(n, length, width)
        x = self.part(NORMS[0], x + self.part("attention.output.dense", seen))
        wide = functional.gelu(self.part("intermediate.dense", x))
        return self.part(NORMS[1], x + self.part("output.dense", wide))

    def changes(self) -> Iterator[tuple[str, Tensor]]:
        """What training changed, named after the tensors it is added to."""
        for key, part in self.parts.items():
            name = f"encoder.layer.{self.number}.{key.replace('-', '.')}"
            if isinstance(part, LowRankLinear):
                yield f"{name}.weight.down", part.down
                yield f"{name}.weight.up", part.up
            else:
                yield f"{name}.weight", part.weight
            yield f"{name}.bias", part.bias


class Embeddings(nn.Module):
    """MiniLM's input: word, position and type, normalised. It stays as it is."""

    def __init__(self, weights: Arrays) -> None:
        super().__init__()
        for name, key in (
            ("words", "word_embeddings.weight"),
            ("positions", "position_embeddings.weight"),
            ("types", "token_type_embeddings.weight"),
            ("norm_weight", "LayerNorm.weight"),
            ("norm_bias", "LayerNorm.bias"),
        ):
            self.register_buffer(name, torch.tensor(weights[f"embeddings.{key}"]))

    def forward(self, ids: Tensor) -> Tensor:
        """Ids (n, length) to states (n, length, d)."""
        x = self.words[ids] + self.positions[: ids.shape[1]] + self.types[0]
        return functional.layer_norm(x, (x.shape[-1],), self.norm_weight, self.norm_bias, EPSILON)


def additive(mask: Tensor) -> Tensor:
    """A mask of ones and zeros (n, length) as addends to attention scores."""
    return (1.0 - mask.float())[:, None, None, :] * -1e9


def pooled(states: Tensor, mask: Tensor) -> Tensor:
    """Mean and maximum over the tokens, and the first token's state: (n, 3 d)."""
    present = mask[:, :, None].float()
    mean = (states * present).sum(1) / present.sum(1)
    highest = states.masked_fill(present == 0, -1e9).amax(1)
    return torch.cat([mean, states[:, 0], highest], dim=1)
