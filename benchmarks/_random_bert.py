"""BERT models by random weights, added as a user adds a folder: what they say does not matter."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _photos import WORK
from safetensors.numpy import save_file

from skerry.models.store import ModelStore

BERT_BASE = "bert-base-random"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# BERT's own initialisation (Devlin et al. 2018) is 0.02; a trained head and its pooler are larger,
# and with it every text would get the same answer to four digits.
SPREAD = 0.04
CLASSES = ("positive", "negative", "neutral")


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a model; one with classes is a classifier, without them it gives vectors."""

    layers: int
    hidden: int
    inner: int
    heads: int
    vocabulary: Sequence[str]
    positions: int = 512
    classes: Sequence[str] = ()
    lower_case: bool = True

    @property
    def config(self) -> dict[str, Any]:
        """What `config.json` says."""
        kind = "BertForSequenceClassification" if self.classes else "BertModel"
        labels = {str(at): name for at, name in enumerate(self.classes)}
        return {
            "architectures": [kind],
            "model_type": "bert",
            "hidden_act": "gelu",
            "hidden_size": self.hidden,
            "intermediate_size": self.inner,
            "layer_norm_eps": 1e-12,
            "max_position_embeddings": self.positions,
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "type_vocab_size": 2,
            "vocab_size": len(self.vocabulary),
            "pad_token_id": 0,
        } | ({"id2label": labels} if labels else {})


def install_bert_base(store: ModelStore) -> None:
    """The classifier of the guide, BERT-base cased with three classes."""
    shape = Shape(12, 768, 3072, 12, vocabulary(), classes=CLASSES, lower_case=False)
    install(store, BERT_BASE, shape)


def install(store: ModelStore, name: str, shape: Shape) -> None:
    """Add the model as a user would, from a Hugging Face folder; one that is there stays."""
    if name in {model.manifest.name for model in store.list()}:
        return
    WORK.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=WORK, prefix="random-bert-") as made:
        folder = Path(made)
        (folder / "config.json").write_text(json.dumps(shape.config))
        (folder / "vocab.txt").write_text("\n".join(shape.vocabulary) + "\n")
        settings = json.dumps({"do_lower_case": shape.lower_case})
        (folder / "tokenizer_config.json").write_text(settings)
        save_file(dict(random_weights(shape)), folder / "model.safetensors")
        store.add_folder(folder, name=name)


def vocabulary() -> list[str]:
    """As many words as BERT's: letters and their pairs and triples, whole and as endings."""
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    pieces = [*letters, *letters.upper(), *"0123456789.,!?'-"]
    pieces += [a + b for a in letters for b in letters]
    pieces += [a + b + c for a in letters[:24] for b in letters[:24] for c in letters[:24]]
    both = [*pieces, *(f"##{piece}" for piece in pieces)]
    return [*SPECIAL, *both][:28_996]


def random_weights(shape: Shape) -> Iterator[tuple[str, np.ndarray]]:
    """Tensors under transformers' names."""
    chance = np.random.default_rng(12)
    hidden = shape.hidden
    within = "bert." if shape.classes else ""

    def normal(name: str, *sizes: int) -> tuple[str, np.ndarray]:
        return name, np.float32(SPREAD) * chance.standard_normal(sizes, np.float32)

    def layer(name: str, out: int, into: int) -> Iterator[tuple[str, np.ndarray]]:
        yield normal(f"{name}.weight", out, into)
        yield normal(f"{name}.bias", out)

    def norm(name: str) -> Iterator[tuple[str, np.ndarray]]:
        yield f"{name}.weight", np.ones(hidden, np.float32)
        yield f"{name}.bias", np.zeros(hidden, np.float32)

    yield normal(f"{within}embeddings.word_embeddings.weight", len(shape.vocabulary), hidden)
    yield normal(f"{within}embeddings.position_embeddings.weight", shape.positions, hidden)
    yield normal(f"{within}embeddings.token_type_embeddings.weight", 2, hidden)
    yield from norm(f"{within}embeddings.LayerNorm")
    for number in range(shape.layers):
        at = f"{within}encoder.layer.{number}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            yield from layer(f"{at}.attention.{part}", hidden, hidden)
        yield from norm(f"{at}.attention.output.LayerNorm")
        yield from layer(f"{at}.intermediate.dense", shape.inner, hidden)
        yield from layer(f"{at}.output.dense", hidden, shape.inner)
        yield from norm(f"{at}.output.LayerNorm")
    if shape.classes:
        yield from layer("bert.pooler.dense", hidden, hidden)
        yield from layer("classifier", len(shape.classes), hidden)
