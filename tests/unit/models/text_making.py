"""Small random encoders in the forms that users bring, and their arithmetic in plain numpy."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from .making import write_checkpoint

Array = NDArray[np.float64]
Ids = NDArray[np.int64]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "dog", "runs", "fast", "##er",
         "a", "b", "c", "d", "e", "good", "bad", ".", ","]  # fmt: skip
MPNET_WORDS = ["<s>", "<pad>", "</s>", "[UNK]", "<mask>", *WORDS[:1], *WORDS[2:]]
ERF = np.vectorize(math.erf)
CONFIG_NAMES = {
    "distilbert": {
        "hidden": "dim", "layers": "n_layers", "heads": "n_heads", "inner": "hidden_dim",
        "activation": "activation",
    },
}  # fmt: skip
BERT_NAMES = {
    "hidden": "hidden_size", "layers": "num_hidden_layers", "heads": "num_attention_heads",
    "inner": "intermediate_size", "activation": "hidden_act",
}  # fmt: skip
# query, key, value, attention's output, its norm, up, down, norm
PARTS = {
    "bert": ("attention.self.query", "attention.self.key", "attention.self.value",
             "attention.output.dense", "attention.output.LayerNorm", "intermediate.dense",
             "output.dense", "output.LayerNorm"),
    "distilbert": ("attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin",
                   "sa_layer_norm", "ffn.lin1", "ffn.lin2", "output_layer_norm"),
    "mpnet": ("attention.attn.q", "attention.attn.k", "attention.attn.v", "attention.attn.o",
              "attention.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm"),
}  # fmt: skip
CLASSES = {"bert": "Bert", "roberta": "Roberta", "distilbert": "DistilBert", "mpnet": "MPNet"}
TYPED = ("bert", "roberta")
ROBERTA_LIKE = ("roberta", "mpnet")


@dataclass
class TinyEncoder:
    """An encoder of a few thousand numbers under transformers' names.

    `head` is a classifier's: "own" that of the family in transformers, "guide" one layer straight
    on the vector of [CLS].
    """

    family: str = "bert"
    head: str = ""
    activation: str = "gelu"
    hidden: int = 32
    layers: int = 2
    heads: int = 4
    inner: int = 48
    vocabulary: int = 300
    positions: int = 40
    types: int = 2
    classes: int = 3
    pooler: bool = True
    epsilon: float = 1e-12
    seed: int = 0
    weights: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)
        self.pad = 1 if self.family in ROBERTA_LIKE else 0
        self.base = f"{self.family}." if self.head else ""
        hidden = self.hidden
        self._table("embeddings.word_embeddings", self.vocabulary)
        self._table("embeddings.position_embeddings", self.positions)
        if self.family in TYPED:
            self._table("embeddings.token_type_embeddings", self.types)
        self._norm("embeddings.LayerNorm")
        if self.family == "mpnet":
            bias = self.random.normal(0, 1, (32, self.heads))
            self._put(f"{self.base}encoder.relative_attention_bias.weight", bias)
        for layer in self.layer_names:
            q, k, v, out, norm1, up, down, norm2 = self.parts
            for part in (q, k, v, out):
                self._linear(f"{self.base}{layer}{part}", hidden, hidden)
            self._linear(f"{self.base}{layer}{up}", self.inner, hidden)
            self._linear(f"{self.base}{layer}{down}", hidden, self.inner)
            self._norm(f"{layer}{norm1}")
            self._norm(f"{layer}{norm2}")
        if self.family == "bert" and self.pooler and self.head != "guide":
            self._linear(f"{self.base}pooler.dense", hidden, hidden)
        self._make_head()

    @property
    def parts(self) -> tuple[str, ...]:
        return PARTS.get(self.family, PARTS["bert"])

    @property
    def layer_names(self) -> list[str]:
        folder = "transformer" if self.family == "distilbert" else "encoder"
        return [f"{folder}.layer.{index}." for index in range(self.layers)]

    @property
    def config(self) -> dict[str, Any]:
        names = CONFIG_NAMES.get(self.family, BERT_NAMES)
        base = CLASSES[self.family]
        kind = {"": "Model", "own": "ForSequenceClassification", "guide": "Classifier"}[self.head]
        config: dict[str, Any] = {
            "model_type": self.family,
            "architectures": [base + kind],
            "vocab_size": self.vocabulary,
            "max_position_embeddings": self.positions,
            "pad_token_id": self.pad,
            **{names[key]: getattr(self, key) for key in names},
        }
        if self.family in TYPED:
            config["type_vocab_size"] = self.types
        if self.family != "distilbert":
            config["layer_norm_eps"] = self.epsilon
        if self.head:
            config["id2label"] = {str(i): f"LABEL_{i}" for i in range(self.classes)}
            config["label2id"] = {f"LABEL_{i}": i for i in range(self.classes)}
        return config

    def save(self, folder: Path, *, form: str = "safetensors", **changes: Any) -> Path:
        """A folder as save_pretrained leaves it; `changes` go into its config.json."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.config | changes))
        if self.family == "roberta":
            write_byte_pairs(folder)
        else:
            words = MPNET_WORDS if self.family == "mpnet" else WORDS
            (folder / "vocab.txt").write_text("\n".join(words) + "\n")
            (folder / "tokenizer_config.json").write_text('{"do_lower_case": true}')
        if form == "safetensors":
            save_file(self.weights, folder / "model.safetensors", metadata={"format": "pt"})
        elif form == "pickle":
            write_checkpoint(folder / "pytorch_model.bin", self.weights)
        else:
            self._save_shards(folder, pickles=form == "pickles")
        return folder

    def _save_shards(self, folder: Path, *, pickles: bool) -> None:
        """Two files of about the same size, and the index that names them."""
        name = "pytorch_model" if pickles else "model"
        suffix = "bin" if pickles else "safetensors"
        names = sorted(self.weights, key=lambda name: self.weights[name].size)
        places = {}
        for part, held in enumerate((names[::2], names[1::2]), 1):
            file = f"{name}-0000{part}-of-00002.{suffix}"
            tensors = {tensor: self.weights[tensor] for tensor in held}
            (write_checkpoint if pickles else save_shard)(folder / file, tensors)
            places |= dict.fromkeys(held, file)
        index = {"metadata": {"total_size": 1}, "weight_map": places}
        (folder / f"{name}.{suffix}.index.json").write_text(json.dumps(index))

    def hidden_states(self, ids: Ids, mask: Ids) -> Array:
        """Vectors (n, length, hidden) of the tokens (Vaswani et al. 2017, Devlin et al. 2018)."""
        x = self._get("embeddings.word_embeddings.weight")[ids]
        x = x + self._get("embeddings.position_embeddings.weight")[self._positions(ids)]
        if self.family in TYPED:
            x = x + self._get("embeddings.token_type_embeddings.weight")[0]
        x = self._normed(x, "embeddings.LayerNorm")
        for layer in self.layer_names:
            q, k, v, out, norm1, up, down, norm2 = (layer + part for part in self.parts)
            mixed = self._attend(*(self._lin(x, part) for part in (q, k, v)), mask)
            x = self._normed(self._lin(mixed, out) + x, norm1)
            x = self._normed(self._lin(self._act(self._lin(x, up)), down) + x, norm2)
        return x

    def embedding(self, ids: Ids, mask: Ids, pooling: str) -> Array:
        """Vectors (n, hidden) of length 1."""
        x = self.hidden_states(ids, mask)
        weights = mask[..., None]
        pooled = (x * weights).sum(1) / weights.sum(1) if pooling == "mean" else x[:, 0]
        return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)

    def logits(self, ids: Ids, mask: Ids) -> Array:
        """Logits (n, classes) by the family's head."""
        x = self.hidden_states(ids, mask)[:, 0]
        if self.head == "guide":
            return self._lin(x, "classifier", base="")
        if self.family in ROBERTA_LIKE:
            return self._lin(
                np.tanh(self._lin(x, "classifier.dense", base="")), "classifier.out_proj", base=""
            )
        if self.family == "distilbert":
            return self._lin(
                np.maximum(self._lin(x, "pre_classifier", base=""), 0), "classifier", base=""
            )
        return self._lin(np.tanh(self._lin(x, "pooler.dense")), "classifier", base="")

    def batch(self, *lengths: int) -> tuple[Ids, Ids]:
        """Random texts of these lengths, padded together."""
        first = 5
        ids = self.random.integers(first, self.vocabulary, (len(lengths), max(lengths)))
        mask = (np.arange(max(lengths)) < np.asarray(lengths)[:, None]).astype(np.int64)
        return np.where(mask == 1, ids, self.pad).astype(np.int64), mask

    def _positions(self, ids: Ids) -> Ids:
        if self.family not in ROBERTA_LIKE:
            return np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
        tokens = (ids != self.pad).astype(np.int64)
        return np.cumsum(tokens, axis=1) * tokens + self.pad

    def _attend(self, q: Array, k: Array, v: Array, mask: Ids) -> Array:
        n, length, hidden = q.shape
        split = (n, length, self.heads, hidden // self.heads)
        q, k, v = (value.reshape(split).transpose(0, 2, 1, 3) for value in (q, k, v))
        scores = q @ k.transpose(0, 1, 3, 2) / math.sqrt(split[-1])
        if self.family == "mpnet":
            places = np.arange(length)
            table = self._get("encoder.relative_attention_bias.weight")
            scores += table[DISTANCE_ROWS(places - places[:, None])].transpose(2, 0, 1)
        scores = np.where(mask[:, None, None, :] == 1, scores, -np.inf)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        return (shares @ v).transpose(0, 2, 1, 3).reshape(n, length, hidden)

    def _act(self, x: Array) -> Array:
        if self.activation == "relu":
            return np.maximum(x, 0)
        if self.activation == "gelu":
            return x * 0.5 * (1 + ERF(x / math.sqrt(2)))
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))

    def _get(self, name: str, base: str | None = None) -> Array:
        prefix = self.base if base is None else base
        return self.weights[prefix + name].astype(np.float64)

    def _lin(self, x: Array, name: str, base: str | None = None) -> Array:
        return x @ self._get(f"{name}.weight", base).T + self._get(f"{name}.bias", base)

    def _normed(self, x: Array, name: str) -> Array:
        normal = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + self.epsilon)
        return normal * self._get(f"{name}.weight") + self._get(f"{name}.bias")

    def _make_head(self) -> None:
        if self.head and self.family in ROBERTA_LIKE:
            self._linear("classifier.dense", self.hidden, self.hidden)
            self._linear("classifier.out_proj", self.classes, self.hidden)
        elif self.head:
            if self.family == "distilbert":
                self._linear("pre_classifier", self.hidden, self.hidden)
            self._linear("classifier", self.classes, self.hidden)

    def _table(self, name: str, rows: int) -> None:
        self._put(f"{self.base}{name}.weight", self.random.normal(0, 0.5, (rows, self.hidden)))

    def _linear(self, name: str, out: int, into: int) -> None:
        self._put(f"{name}.weight", self.random.normal(0, 1 / math.sqrt(into), (out, into)))
        self._put(f"{name}.bias", self.random.normal(0, 0.2, out))

    def _norm(self, name: str) -> None:
        self._put(f"{self.base}{name}.weight", self.random.uniform(0.5, 1.5, self.hidden))
        self._put(f"{self.base}{name}.bias", self.random.normal(0, 0.2, self.hidden))

    def _put(self, name: str, value: Array) -> None:
        self.weights[name] = value.astype(np.float32)


def save_shard(path: Path, tensors: dict[str, NDArray[np.float32]]) -> None:
    """Some of a model's tensors as safetensors."""
    save_file(tensors, path, metadata={"format": "pt"})


def write_unigrams(folder: Path) -> None:
    """The tokenizer.json of a multilingual encoder: pieces with scores, as by SentencePiece."""
    pieces = ["▁", "▁the", "▁Katze", "▁кошка", "▁猫", "run", "s", "t", "h", "e", "猫", "a"]
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    scores = [(token, 0.0) for token in special]
    scores += [(piece, -1.0 - place / 4) for place, piece in enumerate(pieces)]
    tokenizer = Tokenizer(models.Unigram([*scores, ("<mask>", 0.0)], unk_id=3))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.add_special_tokens([*special, "<mask>"])
    tokenizer.enable_truncation(512)
    tokenizer.save(str(folder / "tokenizer.json"))


def _distance_row(distance: int) -> int:
    """The row of MPNet's 32 for a distance, in real numbers (Raffel et al. 2020)."""
    size = abs(distance)
    if size >= 8:
        size = min(8 + int(math.log(size / 8) / math.log(128 / 8) * 8 + 1e-9), 15)
    return size + 16 * (distance > 0)


DISTANCE_ROWS = np.vectorize(_distance_row)


def write_byte_pairs(folder: Path) -> None:
    """A vocabulary of single bytes and one merge, as RoBERTa's files hold it."""
    from tokenizers.pre_tokenizers import ByteLevel

    words = ["<s>", "<pad>", "</s>", "<unk>", *sorted(ByteLevel.alphabet()), "he", "<mask>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\nh e\n")
