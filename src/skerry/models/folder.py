"""The models folder as it stands: list, read and verify what is installed."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from skerry.errors import BadRequest, ModelNotFound, ModelUnavailable
from skerry.models.catalogue import Catalogue, catalogue
from skerry.models.files import sha256_of
from skerry.models.manifest import (
    MANIFEST_FILE,
    AnyModel,
    ChatManifest,
    ClassifierManifest,
    EmbeddingManifest,
    ImageManifest,
    InstalledModel,
    StoredFile,
    decode_manifest,
    of_task,
)

log = logging.getLogger(__name__)

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
NAME_RULE = "Use 1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit."


class ModelFolder:
    """Models in `folder`, one folder each. Calls block: use a thread.

    What a node needs to serve; `ModelStore` adds what pulling and converting need.
    """

    def __init__(self, folder: Path, *, known: Catalogue | None = None) -> None:
        self.folder = folder
        self.known = catalogue() if known is None else known

    def list(self) -> list[AnyModel]:
        """Installed models by name; one whose manifest cannot be read is left out and logged."""
        models = []
        folders = (manifest.parent for manifest in self.folder.glob(f"*/{MANIFEST_FILE}"))
        for name in sorted(folder.name for folder in folders if NAME.fullmatch(folder.name)):
            try:
                models.append(self._read(name))
            except (ModelUnavailable, ModelNotFound) as error:
                log.warning("%s", error.message)
        return models

    def get(self, name: str) -> AnyModel:
        """The installed model; ModelNotFound, or ModelUnavailable when files are gone or cut."""
        model = self._read(name)
        for file in stored_files(model):
            path = model.folder / file.file
            if not path.is_file() or path.stat().st_size != file.bytes:
                raise self._damaged(name, file, "is missing or cut short")
        return model

    def get_image(self, name: str) -> InstalledModel[ImageManifest]:
        """Like `get`; WrongTask for a model that recognises no images."""
        return of_task(self.get(name), ImageManifest)

    def is_current(self, model: AnyModel) -> bool:
        """Whether a model of the catalogue is as this version of the package builds it."""
        entry = self.known.get(model.manifest.name)
        return entry is None or entry.recipe == model.manifest.recipe

    def verify(self, name: str) -> AnyModel:
        """Like `get`, reading every byte; ModelUnavailable names the file that has changed."""
        model = self.get(name)
        for file in stored_files(model):
            if sha256_of(model.folder / file.file) != file.sha256:
                raise self._damaged(name, file, "is not what was installed")
        return model

    def _read(self, name: str) -> AnyModel:
        check_name(name)
        folder = self.folder / name
        try:
            manifest = decode_manifest((folder / MANIFEST_FILE).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            raise self._absent(name) from None
        except (OSError, msgspec.DecodeError) as error:
            raise ModelUnavailable(
                f"The manifest of model '{name}' cannot be read: {error}.",
                remedy=self._how_to_restore(name),
            ) from error
        return InstalledModel(manifest, folder)

    def _absent(self, name: str) -> ModelNotFound:
        if name in self.known:
            return ModelNotFound(
                f"Model '{name}' is not installed.", remedy=f"Run 'skerry models pull {name}'."
            )
        return ModelNotFound(f"No model '{name}' is installed.")

    def _damaged(self, name: str, file: StoredFile, what: str) -> ModelUnavailable:
        return ModelUnavailable(
            f"The file {file.file} of model '{name}' {what}.", remedy=self._how_to_restore(name)
        )

    def _how_to_restore(self, name: str) -> str:
        again = f"skerry models {'pull' if name in self.known else 'add'}"
        return f"Run 'skerry models remove {name}', then '{again}'."


def check_name(name: str) -> None:
    """BadRequest for a name that no model can have."""
    if not NAME.fullmatch(name):
        raise BadRequest(f"'{name}' cannot be a model's name.", remedy=NAME_RULE)


def stored_files(model: AnyModel) -> Iterator[StoredFile]:
    """Every file of the model."""
    for variant in model.manifest.variants:
        yield from variant.files
    match model.manifest:
        case ChatManifest(file=file):
            yield file
        case EmbeddingManifest(text=text) | ClassifierManifest(text=text):
            yield text.tokenizer
