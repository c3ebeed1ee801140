"""Read an encoder's `config.json`, as transformers writes it, within bounds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from skerry.errors import ModelInvalid
from skerry.models.graphs.base import Activation, EncoderShape, Family
from skerry.models.json_files import read_json

CONFIG_FILE = "config.json"
FAMILIES: dict[str, Family] = {
    "bert": "bert",
    "roberta": "roberta",
    "xlm-roberta": "roberta",
    "camembert": "roberta",
    "distilbert": "distilbert",
    "mpnet": "mpnet",
}
ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_new": "gelu-tanh",
    "gelu_fast": "gelu-tanh",
    "gelu_pytorch_tanh": "gelu-tanh",
    "relu": "relu",
}
SUPPORTED = (
    "Supported: BERT (with MiniLM, E5 and BGE), RoBERTa (with XLM-RoBERTa and CamemBERT), "
    "DistilBERT and MPNet, as embeddings or for sequence classification."
)
# DistilBERT does not store its own.
DISTILBERT_EPSILON = 1e-12
# transformers leaves out id2label when there are two.
UNSAID_CLASSES = 2
DEFAULT_PAD = {"bert": 0, "roberta": 1, "distilbert": 0, "mpnet": 1}

Size = Annotated[int, msgspec.Meta(ge=1, le=1 << 24)]
Layers = Annotated[int, msgspec.Meta(ge=1, le=512)]
Epsilon = Annotated[float, msgspec.Meta(gt=0, lt=1)]
Index = Annotated[int, msgspec.Meta(ge=0, le=1 << 24)]


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """What `config.json` says of an encoder."""

    shape: EncoderShape
    architecture: str
    """The class of transformers it was saved from, such as "BertModel"; "" when not said."""
    labels: tuple[str, ...]
    """Names of the classes in order; none when they have no names of their own."""
    classes: int
    several_labels: bool
    """Whether several labels can hold at once."""
    assumed: tuple[str, ...] = ()
    """For the user, what was taken as given because no file says it."""


class _Common(msgspec.Struct, kw_only=True):
    model_type: str = ""
    architectures: list[str] | None = None
    id2label: dict[int, str] | None = None
    problem_type: str | None = None
    pad_token_id: Index | None = None
    is_decoder: bool = False


class _Bert(_Common, kw_only=True):
    hidden_size: Size
    num_hidden_layers: Layers
    num_attention_heads: Size
    intermediate_size: Size
    vocab_size: Size
    max_position_embeddings: Size = 512
    type_vocab_size: Size = 2
    hidden_act: str = "gelu"
    layer_norm_eps: Epsilon = 1e-12
    position_embedding_type: str | None = "absolute"


class _DistilBert(_Common, kw_only=True):
    dim: Size
    n_layers: Layers
    n_heads: Size
    hidden_dim: Size
    vocab_size: Size
    max_position_embeddings: Size = 512
    activation: str = "gelu"


def read_config(folder: Path) -> EncoderConfig:
    """The settings in `folder`; ModelInvalid for what is no encoder of the BERT family."""
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise ModelInvalid(
            f"There is no {CONFIG_FILE} in {folder.name}.",
            remedy="Give a folder as transformers saves it: save_pretrained writes all files.",
        )
    common = read_json(path, _Common)
    family = FAMILIES.get(common.model_type)
    if family is None or common.is_decoder:
        kind = "a decoder" if common.is_decoder else f"'{common.model_type}'"
        raise ModelInvalid(f"{CONFIG_FILE} describes {kind}.", remedy=SUPPORTED)
    shape = _distilbert(path) if family == "distilbert" else _bert(path, family)
    if shape.hidden % shape.heads:
        raise ModelInvalid(
            f"{CONFIG_FILE} divides {shape.hidden} numbers among {shape.heads} heads."
        )
    if shape.positions <= shape.first_position:
        raise ModelInvalid(
            f"{CONFIG_FILE} gives {shape.positions} positions, the first of which is "
            f"{shape.first_position}: there is no room for a token."
        )
    return EncoderConfig(
        shape=shape,
        architecture=(common.architectures or [""])[0],
        labels=_labels(common.id2label or {}),
        classes=len(common.id2label or {}) or UNSAID_CLASSES,
        several_labels=common.problem_type == "multi_label_classification",
    )


def _bert(path: Path, family: Family) -> EncoderShape:
    config = read_json(path, _Bert)
    if config.position_embedding_type not in (None, "absolute"):
        raise ModelInvalid(
            f"{CONFIG_FILE} asks for positions of the kind '{config.position_embedding_type}'; "
            "only absolute ones are supported."
        )
    return EncoderShape(
        family=family,
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        heads=config.num_attention_heads,
        intermediate=config.intermediate_size,
        vocabulary=config.vocab_size,
        positions=config.max_position_embeddings,
        token_types=0 if family == "mpnet" else config.type_vocab_size,
        activation=_activation(config.hidden_act),
        epsilon=config.layer_norm_eps,
        pad_id=_pad_id(config, family),
    )


def _distilbert(path: Path) -> EncoderShape:
    config = read_json(path, _DistilBert)
    return EncoderShape(
        family="distilbert",
        layers=config.n_layers,
        hidden=config.dim,
        heads=config.n_heads,
        intermediate=config.hidden_dim,
        vocabulary=config.vocab_size,
        positions=config.max_position_embeddings,
        token_types=0,
        activation=_activation(config.activation),
        epsilon=DISTILBERT_EPSILON,
        pad_id=_pad_id(config, "distilbert"),
    )


def _activation(name: str) -> Activation:
    if name not in ACTIVATIONS:
        raise ModelInvalid(
            f"{CONFIG_FILE} asks for the activation '{name}'.",
            remedy=f"Supported: {', '.join(ACTIVATIONS)}.",
        )
    return ACTIVATIONS[name]


def _pad_id(config: _Common, family: Family) -> int:
    # MPNet counts positions from this one, whatever its config says.
    if config.pad_token_id is None or family == "mpnet":
        return DEFAULT_PAD[family]
    return config.pad_token_id


def _labels(names: dict[int, str]) -> tuple[str, ...]:
    """Names in order; transformers writes LABEL_0, LABEL_1, ... where there are none."""
    if sorted(names) != list(range(len(names))):
        raise ModelInvalid(f"The indexes of id2label in {CONFIG_FILE} are not 0, 1, 2, ...")
    if all(name == f"LABEL_{index}" for index, name in names.items()):
        return ()
    ordered = tuple(names[index] for index in range(len(names)))
    if "" in ordered or len(set(ordered)) < len(ordered):
        raise ModelInvalid(f"A label of id2label in {CONFIG_FILE} is empty or stands twice.")
    return ordered
