"""Train the head and the small changes to MiniLM's upper layers, step by step."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from minilm import Arrays, Embeddings, Layer, additive, pooled
from numpy.typing import NDArray
from texts import LABELS, NEUTRAL_BELOW, Text
from tokenizers import Tokenizer
from torch import Tensor, nn

MAX_TOKENS = 128
"""Of a training sentence; one in a thousand is longer."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a training run is made of; the shipped head was trained with the defaults."""

    tuned_layers: tuple[int, ...] = (3, 4, 5)
    rank: int = 4
    epochs: int = 3
    batch: int = 32
    change_rate: float = 1e-3
    head_rate: float = 1e-3
    weight_decay: float = 0.01
    dropout: float = 0.2
    rating_error: float = 0.4
    """Standard error of a mean rating: targets are the chances of its being of each class."""
    balance: float = 0.5
    """Classes weigh by their frequency to the power of minus this."""
    seed: int = 7


class Classifier(nn.Module):
    """States of a lower layer (n, length, d) to logits of LABELS."""

    def __init__(self, weights: Arrays, recipe: Recipe) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            Layer(weights, number, rank=recipe.rank) for number in recipe.tuned_layers
        )
        width = weights["embeddings.LayerNorm.weight"].shape[0]
        self.norm = nn.BatchNorm1d(3 * width, affine=False)
        self.drop = nn.Dropout(recipe.dropout)
        self.head = nn.Linear(3 * width, len(LABELS))
        nn.init.zeros_(self.head.weight)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Logits (n, labels)."""
        addends = additive(mask)
        for layer in self.layers:
            states = layer(states, addends)
        return self.head(self.drop(self.norm(pooled(states, mask))))


@dataclass(slots=True)
class Tokenized:
    """Sentences as the states that the frozen lower layers make of them, float16 (length, d)."""

    states: list[Tensor]

    def batch(self, chosen: Sequence[int]) -> tuple[Tensor, Tensor]:
        """States padded together, and their mask."""
        rows = [self.states[at] for at in chosen]
        padded = nn.utils.rnn.pad_sequence(rows, batch_first=True).float()
        lengths = torch.tensor([len(row) for row in rows])
        return padded, (torch.arange(padded.shape[1])[None] < lengths[:, None]).float()

    def batches(self, chosen: Sequence[int], size: int) -> list[list[int]]:
        """The chosen in groups of like length."""
        ordered = sorted(chosen, key=lambda at: len(self.states[at]))
        return [ordered[at : at + size] for at in range(0, len(ordered), size)]


@torch.no_grad()
def lower_states(
    texts: Sequence[Text], weights: Arrays, tokenizer: Tokenizer, *, layers: int
) -> Tokenized:
    """Run the layers that stay as they are once for all texts."""
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    ids = [torch.tensor(found.ids) for found in tokenizer.encode_batch([t.text for t in texts])]
    embed = Embeddings(weights)
    frozen = [Layer(weights, number, rank=1) for number in range(layers)]
    tokenized = Tokenized([torch.empty(0)] * len(texts))
    order = sorted(range(len(ids)), key=lambda at: len(ids[at]))
    for start in range(0, len(order), 64):
        chosen = order[start : start + 64]
        padded = nn.utils.rnn.pad_sequence([ids[at] for at in chosen], batch_first=True)
        lengths = torch.tensor([len(ids[at]) for at in chosen])
        mask = (torch.arange(padded.shape[1])[None] < lengths[:, None]).float()
        states = embed(padded)
        for layer in frozen:
            states = layer(states, additive(mask))
        for row, at in enumerate(chosen):
            tokenized.states[at] = states[row, : len(ids[at])].half().clone()
    return tokenized


def targets(texts: Sequence[Text], *, error: float) -> Tensor:
    """The chance (n, labels) that a sentence's true mean rating is of each class."""

    def above(limit: float) -> Tensor:
        ratings = torch.tensor([text.rating for text in texts])
        return 0.5 * (1 + torch.erf((ratings - limit) / (error * math.sqrt(2))))

    positive, negative = above(NEUTRAL_BELOW), 1 - above(-NEUTRAL_BELOW)
    return torch.stack([positive, negative, 1 - positive - negative], dim=1)


def train(
    model: Classifier, data: Tokenized, wanted: Tensor, chosen: Sequence[int], recipe: Recipe
) -> Iterator[float]:
    """Train in place on the chosen sentences; gives the loss after each step."""
    chance = random.Random(recipe.seed)
    weight = (len(chosen) / len(LABELS) / wanted[list(chosen)].sum(0)) ** recipe.balance
    optimizer = torch.optim.AdamW(
        [
            {"params": model.layers.parameters(), "lr": recipe.change_rate},
            {"params": model.head.parameters(), "lr": recipe.head_rate},
        ],
        weight_decay=recipe.weight_decay,
    )
    total = recipe.epochs * math.ceil(len(chosen) / recipe.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / 60) * max(0.0, 1 - step / (total + 1))
    )
    for _ in range(recipe.epochs):
        batches = _shuffled(data, chosen, recipe.batch, chance)
        for rows in batches:
            model.train()
            logits = model(*data.batch(rows))
            loss = -(weight * wanted[rows] * logits.log_softmax(1)).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            yield loss.item()


def _shuffled(
    data: Tokenized, chosen: Sequence[int], size: int, chance: random.Random
) -> list[list[int]]:
    """Batches in random order of sentences of like length, drawn anew each epoch."""
    mixed = list(chosen)
    chance.shuffle(mixed)
    pools = [mixed[at : at + 40 * size] for at in range(0, len(mixed), 40 * size)]
    batches = [rows for pool in pools for rows in data.batches(pool, size)]
    chance.shuffle(batches)
    return batches


@torch.no_grad()
def predict(model: Classifier, data: Tokenized, chosen: Sequence[int]) -> NDArray[np.float32]:
    """Logits (n, labels) of the chosen sentences, in their order."""
    model.eval()
    place = {at: row for row, at in enumerate(chosen)}
    logits = np.empty((len(chosen), len(LABELS)), np.float32)
    for rows in data.batches(chosen, 64):
        logits[[place[at] for at in rows]] = model(*data.batch(rows)).numpy()
    return logits
