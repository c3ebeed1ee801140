"""Tell the shape of a BERT by its tensors, for a folder without `config.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray
from tokenizers import Tokenizer

from skerry.errors import ModelInvalid
from skerry.models.encoder_config import CONFIG_FILE, UNSAID_CLASSES, EncoderConfig
from skerry.models.graphs.base import EncoderShape

WORDS = "embeddings.word_embeddings.weight"
POSITIONS = "embeddings.position_embeddings.weight"
TYPES = "embeddings.token_type_embeddings.weight"
INTERMEDIATE = "encoder.layer.0.intermediate.dense.weight"
LAYER = "encoder.layer."
POOLER = "pooler.dense.weight"
HEAD_SIZE = 64
"""Of every BERT that its authors released (Devlin et al. 2018, Turc et al. 2019)."""
SMALL_HEADS = 384
"""The size at which that fails: MiniLM, E5-small and BGE-small have twelve heads of 32."""
MAX_LAYERS = 512
EPSILON = 1e-12
# Heads that RoBERTa and DistilBERT have, and BERT has not.
FOREIGN_HEADS = ("lm_head.", "classifier.dense.", "classifier.out_proj.", "pre_classifier.")
TOKENIZER = "WordPiece"
REMEDY = (
    f"Add the {CONFIG_FILE} that the model was saved with (save_pretrained writes it): only a "
    "plain BERT is told by its weights alone."
)


def config_by_tensors(tensors: Mapping[str, NDArray[Any]]) -> EncoderConfig:
    """What `config.json` would say, by the tensors under the names they are stored with.

    Its `assumed` says what no tensor tells. Raises ModelInvalid for what is not clearly BERT.
    """
    base = _base(tensors)
    vocabulary, hidden = _table(tensors, base + WORDS)
    shape = EncoderShape(
        family="bert",
        layers=_layers(tensors, base),
        hidden=hidden,
        heads=_heads(hidden),
        intermediate=_table(tensors, base + INTERMEDIATE)[0],
        vocabulary=vocabulary,
        positions=_table(tensors, base + POSITIONS)[0],
        token_types=_token_types(tensors, base),
        activation="gelu",
        epsilon=EPSILON,
        pad_id=0,
    )
    return EncoderConfig(
        shape=shape,
        architecture="",
        labels=(),
        classes=UNSAID_CLASSES,
        several_labels=False,
        assumed=_assumed(shape),
    )


def check_tokenizer(content: str) -> None:
    """ModelInvalid for a `tokenizer.json` not of BERT's kind: others share BERT's tensors."""
    kind = type(Tokenizer.from_str(content).model).__name__
    if kind != TOKENIZER:
        raise _unclear(f"its tokenizer is {kind}, not BERT's {TOKENIZER}")


def assumed_head(tensors: Mapping[str, NDArray[Any]]) -> str:
    """A note on what a classifier's head is taken to read, and to mean."""
    pooled = any(name.endswith(POOLER) for name in tensors)
    read = "the pooler's output" if pooled else "the vector of [CLS]"
    return f"Assumed: the classifier reads {read}, and exactly one class holds for a text."


def _base(tensors: Mapping[str, NDArray[Any]]) -> str:
    """What stands before the encoder's names."""
    foreign = next((name for name in tensors if name.startswith(FOREIGN_HEADS)), None)
    if foreign is not None:
        raise _unclear(f"the tensor '{foreign}' is none of BERT's")
    for base in ("bert.", ""):
        if base + WORDS in tensors and base + INTERMEDIATE in tensors:
            return base
    raise _unclear("its tensors are not named as BERT's")


def _table(tensors: Mapping[str, NDArray[Any]], name: str) -> tuple[int, int]:
    if name not in tensors:
        raise _unclear(f"there is no tensor '{name}'")
    shape = tensors[name].shape
    if len(shape) != 2 or 0 in shape:
        raise ModelInvalid(f"The tensor '{name}' is no table: its shape is {shape}.")
    return shape


def _layers(tensors: Mapping[str, NDArray[Any]], base: str) -> int:
    """How many there are; that none is left out is for the graph to check."""
    prefix = base + LAYER
    names = (name.removeprefix(prefix) for name in tensors if name.startswith(prefix))
    layers = len({name.partition(".")[0] for name in names})
    if layers > MAX_LAYERS:
        raise ModelInvalid(f"The tensors are of {layers} layers, at most {MAX_LAYERS} are read.")
    return layers


def _heads(hidden: int) -> int:
    if hidden % HEAD_SIZE:
        raise _unclear(f"its hidden size {hidden} is not divisible into heads of {HEAD_SIZE}")
    if hidden == SMALL_HEADS:
        raise _unclear(f"a hidden size of {hidden} may be 6 heads of 64 or, as MiniLM's, 12 of 32")
    return hidden // HEAD_SIZE


def _token_types(tensors: Mapping[str, NDArray[Any]], base: str) -> int:
    types, _ = _table(tensors, base + TYPES)
    if types < 2:
        raise _unclear("it has one type of tokens, as RoBERTa has; BERT has two")
    return types


def _assumed(shape: EncoderShape) -> tuple[str, ...]:
    return (
        f"There is no {CONFIG_FILE}. By its tensors this is a BERT: {shape.layers} layers, hidden "
        f"size {shape.hidden}, intermediate size {shape.intermediate}, {shape.vocabulary} tokens, "
        f"{shape.positions} positions, {shape.token_types} token types.",
        f"Assumed, as no tensor tells them: {shape.heads} heads of {HEAD_SIZE}, the activation "
        f"gelu, an epsilon of {shape.epsilon:g}, padding by token {shape.pad_id}.",
    )


def _unclear(why: str) -> ModelInvalid:
    return ModelInvalid(f"There is no {CONFIG_FILE}, and {why}.", remedy=REMEDY)
