"""Where a model to be added lies: a path here, or an address to fetch it from."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skerry.cli.http import settings as settings_of
from skerry.cli.options import Options
from skerry.cli.progress import Progress

if TYPE_CHECKING:
    from skerry.models.manifest import ChatModel
    from skerry.models.progress import Progress as PullProgress
    from skerry.models.references import Remote
    from skerry.models.store import ModelStore

REMOTE = ("https://", "http://", "hf:")
CHAT_SUFFIX = ".gguf"
STEPS = {
    "wait": "waiting for another process",
    "fetch": "fetching",
    "check": "checking",
    "convert": "converting",
    "install": "installing",
}


class Place(click.Path):
    """A path that exists, or a reference that is fetched."""

    name = "place"

    def __init__(self) -> None:
        super().__init__(exists=True, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The reference as it is, or the path."""
        if isinstance(value, str) and value.startswith(REMOTE):
            return value
        return super().convert(value, param, ctx)


def is_chat(place: str | Path) -> bool:
    """Whether it is a language model; only those are fetched."""
    return isinstance(place, str) or place.suffix == CHAT_SUFFIX


def add_chat(
    options: Options, store: ModelStore, place: str | Path, *, name: str | None
) -> ChatModel:
    """Take in a GGUF file, with its progress shown."""
    file = _remote(options, place) if isinstance(place, str) else place
    name = name or name_of(file.name if isinstance(file, Path) else file.file_name)
    with Progress(f"Adding {name}", total=None, in_bytes=True) as bar:

        def show(progress: PullProgress) -> None:
            total = progress.total_bytes or None
            bar.set(progress.done_bytes, total=total, message=STEPS[progress.step])

        return store.add_chat(file, name=name, progress=show)


def name_of(file: str) -> str:
    """A model's name, made from its file's."""
    stem = file.rpartition(".")[0] or file
    return re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-._")


def _remote(options: Options, reference: str) -> Remote:
    from skerry.models.references import remote_file

    # The variable that the hub's own tools read.
    token = os.environ.get("HF_TOKEN", "")
    remote = remote_file(reference, hub=settings_of(options).models.hub, token=token)
    assert remote is not None
    return remote
