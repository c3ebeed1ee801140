"""Read what sentence-transformers writes beside a model: pooling, prefixes, longest input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from skerry.errors import ModelInvalid
from skerry.models.json_files import read_json, read_json_if_present
from skerry.models.manifest import PoolingKind

MODULES_FILE = "modules.json"
POOLING_FOLDER = "1_Pooling"
KNOWN_MODULES = ("Transformer", "Pooling", "Normalize")
POOLINGS: dict[str, PoolingKind] = {"mean": "mean", "cls": "cls"}
# Other names under which sentence-transformers looks for the prefix of a document.
DOCUMENT_NAMES = ("passage", "corpus")


@dataclass(frozen=True, slots=True)
class SentenceSettings:
    """What the files say; None and nothing where they do not."""

    pooling: PoolingKind | None
    prefixes: Mapping[str, str]
    """By use, such as "query" and "document"; under "" that of every other text."""
    max_tokens: int | None


class _Module(msgspec.Struct):
    type: str
    path: str = ""


class _Pooling(msgspec.Struct):
    """Newer files name the mode; older ones have a flag for each."""

    pooling_mode: str | list[str] | None = None
    pooling_mode_cls_token: bool = False
    pooling_mode_mean_tokens: bool = False
    pooling_mode_max_tokens: bool = False
    pooling_mode_mean_sqrt_len_tokens: bool = False
    pooling_mode_weightedmean_tokens: bool = False
    pooling_mode_lasttoken: bool = False
    include_prompt: bool = True


class _Transformer(msgspec.Struct):
    max_seq_length: Annotated[int, msgspec.Meta(ge=1)] | None = None


class _Prompts(msgspec.Struct):
    prompts: dict[str, str | None] = {}
    default_prompt_name: str | None = None


def read_sentence_settings(folder: Path, *, pooling: PoolingKind | None) -> SentenceSettings:
    """The settings in `folder`; `pooling` goes before what its files say.

    Raises ModelInvalid for layers after the pooling, and for poolings that are not supported.
    """
    return SentenceSettings(
        pooling=pooling or _stated_pooling(folder),
        prefixes=_prefixes(read_json_if_present(_settings_file(folder), _Prompts)),
        max_tokens=read_json_if_present(
            folder / "sentence_bert_config.json", _Transformer
        ).max_seq_length,
    )


def _settings_file(folder: Path) -> Path:
    return folder / "config_sentence_transformers.json"


def _stated_pooling(folder: Path) -> PoolingKind | None:
    path = folder / _pooling_folder(folder) / "config.json"
    if not path.is_file():
        return None
    config = read_json(path, _Pooling)
    modes = _modes(config)
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise ModelInvalid(
            f"The pooling of this model is {' and '.join(modes) or 'not said'}.",
            remedy="Supported: mean and cls. --pooling chooses one, if the model was made for it.",
        )
    if not config.include_prompt:
        raise ModelInvalid("The pooling of this model leaves out its prefix: not supported.")
    return POOLINGS[modes[0]]


def _pooling_folder(folder: Path) -> str:
    """Where the pooling's settings lie; ModelInvalid for a model that does more than pool."""
    if not (folder / MODULES_FILE).is_file():
        return POOLING_FOLDER
    pooling = POOLING_FOLDER
    for module in read_json(folder / MODULES_FILE, list[_Module]):
        kind = module.type.rpartition(".")[2]
        if kind not in KNOWN_MODULES:
            raise ModelInvalid(
                f"This model has the module '{kind}', which is not supported.",
                remedy=f"Supported: {', '.join(KNOWN_MODULES)}.",
            )
        if kind == "Pooling":
            pooling = Path(module.path).name
    return pooling


def _modes(config: _Pooling) -> list[str]:
    if config.pooling_mode is not None:
        mode = config.pooling_mode
        return [mode] if isinstance(mode, str) else mode
    flags = msgspec.structs.asdict(config)
    prefix = "pooling_mode_"
    on = [name for name, flag in flags.items() if name.startswith(prefix) and flag]
    return [name.removeprefix(prefix).removesuffix("_tokens").removesuffix("_token") for name in on]


def _prefixes(stored: _Prompts) -> dict[str, str]:
    prefixes = {name: text for name, text in stored.prompts.items() if text}
    for name in DOCUMENT_NAMES:
        if name in prefixes:
            prefixes.setdefault("document", prefixes.pop(name))
    if stored.default_prompt_name in prefixes:
        prefixes[""] = prefixes[stored.default_prompt_name]
    return prefixes
