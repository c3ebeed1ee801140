"""The classifier of the guide, BERT-base cased with three classes, by random weights."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from _photos import WORK
from safetensors.numpy import save_file

from skerry.models.store import ModelStore

NAME = "bert-base-random"
LAYERS, HIDDEN, INNER, HEADS, VOCABULARY, POSITIONS, LABELS = 12, 768, 3072, 12, 28_996, 512, 3
CONFIG = {
    "architectures": ["BertForSequenceClassification"],
    "model_type": "bert",
    "hidden_act": "gelu",
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": POSITIONS,
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "type_vocab_size": 2,
    "vocab_size": VOCABULARY,
    "pad_token_id": 0,
    "id2label": {"0": "positive", "1": "negative", "2": "neutral"},
}
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# BERT's own initialisation (Devlin et al. 2018) is 0.02; a trained head and its pooler are larger,
# and with it every text would get the same answer to four digits.
SPREAD = 0.04


def install_bert_base(store: ModelStore) -> None:
    """Add the model as a user would, from a Hugging Face folder; one that is there stays."""
    if NAME in {model.manifest.name for model in store.list()}:
        return
    WORK.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=WORK, prefix="bert-base-") as name:
        folder = Path(name)
        (folder / "config.json").write_text(json.dumps(CONFIG))
        (folder / "vocab.txt").write_text("\n".join(vocabulary()) + "\n")
        (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}')
        save_file(dict(random_weights()), folder / "model.safetensors")
        store.add_folder(folder, name=NAME)


def vocabulary() -> list[str]:
    """As many words as BERT's: letters and their pairs and triples, whole and as endings."""
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    pieces = [*letters, *letters.upper(), *"0123456789.,!?'-"]
    pieces += [a + b for a in letters for b in letters]
    pieces += [a + b + c for a in letters[:24] for b in letters[:24] for c in letters[:24]]
    both = [*pieces, *(f"##{piece}" for piece in pieces)]
    return [*SPECIAL, *both][:VOCABULARY]


def random_weights() -> Iterator[tuple[str, np.ndarray]]:
    """Tensors under transformers' names."""
    chance = np.random.default_rng(12)

    def normal(name: str, *shape: int) -> tuple[str, np.ndarray]:
        return name, np.float32(SPREAD) * chance.standard_normal(shape, np.float32)

    def layer(name: str, out: int, into: int) -> Iterator[tuple[str, np.ndarray]]:
        yield normal(f"{name}.weight", out, into)
        yield normal(f"{name}.bias", out)

    def norm(name: str) -> Iterator[tuple[str, np.ndarray]]:
        yield f"{name}.weight", np.ones(HIDDEN, np.float32)
        yield f"{name}.bias", np.zeros(HIDDEN, np.float32)

    yield normal("bert.embeddings.word_embeddings.weight", VOCABULARY, HIDDEN)
    yield normal("bert.embeddings.position_embeddings.weight", POSITIONS, HIDDEN)
    yield normal("bert.embeddings.token_type_embeddings.weight", 2, HIDDEN)
    yield from norm("bert.embeddings.LayerNorm")
    for number in range(LAYERS):
        at = f"bert.encoder.layer.{number}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            yield from layer(f"{at}.attention.{part}", HIDDEN, HIDDEN)
        yield from norm(f"{at}.attention.output.LayerNorm")
        yield from layer(f"{at}.intermediate.dense", INNER, HIDDEN)
        yield from layer(f"{at}.output.dense", HIDDEN, INNER)
        yield from norm(f"{at}.output.LayerNorm")
    yield from layer("bert.pooler.dense", HIDDEN, HIDDEN)
    yield from layer("classifier", LABELS, HIDDEN)
