"""Settings: defaults < skerry.toml < SKERRY_* environment < flags."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec
import platformdirs

from skerry.errors import ConfigError


class NodeSettings(msgspec.Struct, forbid_unknown_fields=True):
    """Where the node listens and keeps its data."""

    host: str = "127.0.0.1"
    """Address to listen on; beyond loopback only when a key exists."""
    port: int = 8642
    """TCP port; 0 takes a free one."""
    data: str = ""
    """Data folder; empty: the user's data folder."""
    allowed_hosts: list[str] = []
    """Extra names accepted in the Host header, beside the address the node listens on."""


class ModelSettings(msgspec.Struct, forbid_unknown_fields=True):
    """Which models run, and how."""

    folder: str = ""
    """Models folder; empty: `models/` in the data folder."""
    image: str = ""
    """The default image model; empty: what the node was last switched to, at first
    `efficientnet-lite2`."""
    engine: str = "auto"
    """`openvino`, `onnx`, or `auto`."""
    device: str = "auto"
    """`cpu`, `gpu`, `npu`, `cuda`, `coreml`, or `auto`."""
    precision: str = "auto"
    """`fp32`, `bf16`, `int8`, or `auto`: the fastest on this CPU that passed its check."""
    threads: int = 0
    """Threads for engines; 0: as many as there are cores."""
    embedding: str = "all-minilm-l6-v2"
    """The default text-embedding model; `off`: none."""
    classifier: str = "minilm-sentiment"
    """The default text classifier; `off`: none."""
    chat: str = "smollm2-135m-instruct"
    """The default language model; `off`: none."""
    hub: str = "https://huggingface.co"
    """Where `hf:OWNER/NAME/FILE` is fetched from; a mirror's address works too."""
    keep_alive_s: float = 600.0
    """A model that nobody used for so long is unloaded, but not the default image model;
    0: never."""
    memory_limit_bytes: int = 0
    """Most memory for all loaded models together; 0: four fifths of the machine's. Idle models
    are unloaded to stay below it, the default image model last."""


class LimitSettings(msgspec.Struct, forbid_unknown_fields=True):
    """Bounds on what one client may ask for."""

    max_body_bytes: int = 32 << 20
    """Largest request body."""
    max_held_bytes: int = 256 << 20
    """Bytes of request bodies held at once; a request beyond them is answered 503."""
    max_pixels: int = 64_000_000
    """Most pixels of one image, checked before it is decoded."""
    deadline_s: float = 10.0
    """How long a request may wait and work before it is answered 503."""
    queue: int = 64
    """Requests that may wait for an engine before the next is answered 503."""


class CacheSettings(msgspec.Struct, forbid_unknown_fields=True):
    """The feature cache: what engines gave for bytes already seen."""

    type: str = "memory"
    """`memory`, `sqlite`, `redis`, or `off`."""
    url: str = ""
    """Redis URL, with `type = "redis"`."""
    ttl_s: float = 86_400.0
    """How long features are kept."""
    max_bytes: int = 128 << 20
    """Bound on what is kept; the least recently used goes first. An image takes about
    20 KB: its vector stands there as JSON too, ready to be answered."""


class GenerationSettings(msgspec.Struct, forbid_unknown_fields=True):
    """How language models run."""

    type: str = "auto"
    """`openvino`, `llamacpp`, `remote`, or `auto`: by the file's architecture and the CPU."""
    slots: int = 4
    """Answers written side by side."""
    queue: int = 16
    """Requests that may wait for a slot before the next is answered 503."""
    context: int = 0
    """Tokens of prompt and answer together; 0: as the model was trained, at most 8192."""
    threads: int = 0
    """Threads of the runtime; 0: as many as there are cores."""
    url: str = ""
    """Base URL of an OpenAI-compatible server (`.../v1`), with `type = "remote"`."""
    api_key: str = ""
    """Its key."""
    model: str = ""
    """Name of the model at `url`; empty: the first that the server lists."""
    deadline_s: float = 300.0
    """How long one answer may take; `limits.deadline_s` bounds the wait for a slot."""


class LogSettings(msgspec.Struct, forbid_unknown_fields=True):
    """What is logged, and how."""

    level: str = "info"
    """`debug`, `info`, `warning` or `error`."""
    format: str = "text"
    """`text` or `json`."""


class Settings(msgspec.Struct, forbid_unknown_fields=True):
    """All settings; `vectors` and `kv` are checked by the backend that `type` names."""

    node: NodeSettings = msgspec.field(default_factory=NodeSettings)
    models: ModelSettings = msgspec.field(default_factory=ModelSettings)
    limits: LimitSettings = msgspec.field(default_factory=LimitSettings)
    cache: CacheSettings = msgspec.field(default_factory=CacheSettings)
    generation: GenerationSettings = msgspec.field(default_factory=GenerationSettings)
    log: LogSettings = msgspec.field(default_factory=LogSettings)
    vectors: dict[str, Any] = msgspec.field(default_factory=lambda: {"type": "edge"})
    kv: dict[str, Any] = msgspec.field(default_factory=lambda: {"type": "sqlite"})

    @property
    def data_folder(self) -> Path:
        """Folder of everything the node stores."""
        return Path(self.node.data or platformdirs.user_data_dir("skerry", appauthor=False))

    @property
    def models_folder(self) -> Path:
        """Folder of models; may be shared by several nodes."""
        return Path(self.models.folder) if self.models.folder else self.data_folder / "models"


SHORT_NAMES = {"SKERRY_DATA": ("node", "data"), "SKERRY_MODELS": ("models", "folder")}
NOT_SETTINGS = {"SKERRY_URL", "SKERRY_KEY", "SKERRY_CONFIG"}


def load_settings(
    file: Path | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """Read settings from `file`, the environment and `flags` (`{"node.port": 8642}`).

    Raises ConfigError naming the key, its source and the nearest right name.
    """
    tree: dict[str, dict[str, Any]] = {}
    sources = [_from_file(file), _from_environment(environ), _from_flags(flags or {})]
    for source in sources:
        for table, values in source.items():
            tree.setdefault(table, {}).update(values)
    for table in ("vectors", "kv"):
        if table in tree:
            tree[table].setdefault("type", getattr(Settings(), table)["type"])
    check_keys(tree, Settings, where="")
    try:
        return msgspec.convert(tree, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"A setting has a wrong value: {error}") from error


def check_keys(values: Mapping[str, Any], struct: type[msgspec.Struct], *, where: str) -> None:
    """Raise ConfigError for a key `struct` lacks, naming the nearest right one."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    for key, value in values.items():
        if key not in fields:
            raise unknown_key(f"{where}{key}", key, list(fields))
        inner = fields[key].type
        is_table = isinstance(inner, type) and issubclass(inner, msgspec.Struct)
        if is_table and not isinstance(value, Mapping):
            raise ConfigError(f"'{where}{key}' is a table: write [{key}].")
        if is_table:
            check_keys(value, inner, where=f"{where}{key}.")


def unknown_key(full_name: str, key: str, known: list[str]) -> ConfigError:
    """The error for a setting nobody reads."""
    near = get_close_matches(key, known, n=1)
    hint = f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(sorted(known))}."
    return ConfigError(f"Unknown setting '{full_name}'.", remedy=hint)


def _from_file(file: Path | None) -> dict[str, dict[str, Any]]:
    if file is None:
        file = Path("skerry.toml")
        if not file.is_file():
            return {}
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"Cannot read {file}: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not valid TOML: {error}.") from error


def _from_environment(environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    tree: dict[str, dict[str, Any]] = {}
    for name, value in environ.items():
        if not name.startswith("SKERRY_") or name in NOT_SETTINGS or not value:
            continue
        table, key = SHORT_NAMES.get(name) or _split_name(name)
        parsed: Any = value.split(",") if (table, key) == ("node", "allowed_hosts") else value
        tree.setdefault(table, {})[key] = parsed
    return tree


def _split_name(name: str) -> tuple[str, str]:
    table, _, key = name.removeprefix("SKERRY_").lower().partition("_")
    known = [field.name for field in msgspec.structs.fields(Settings)]
    if table not in known or not key:
        raise unknown_key(name, table, known)
    return table, key


def _from_flags(flags: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    tree: dict[str, dict[str, Any]] = {}
    for name, value in flags.items():
        if value is not None:
            table, key = name.split(".")
            tree.setdefault(table, {})[key] = value
    return tree
