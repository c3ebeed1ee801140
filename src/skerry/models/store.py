"""Change the models folder: pull, add and remove models, each whole or absent."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from skerry.errors import (
    Conflict,
    ModelInvalid,
    ModelNotFound,
    ModelUnavailable,
    SourceUnreachable,
    StorageFull,
)
from skerry.models.catalogue import CatalogueEntry
from skerry.models.chat import fetch_in, take_in
from skerry.models.conversion import (
    Description,
    load_variant,
    read_added,
    write_model,
    write_variant,
)
from skerry.models.encoders import Wanted, added_from, read_folder, write_encoder
from skerry.models.files import locked, replace_synced, sha256_of, storage_errors, sync_folder
from skerry.models.folder import ModelFolder, check_name, stored_files
from skerry.models.manifest import (
    MANIFEST_FILE,
    AnyManifest,
    AnyModel,
    ChatManifest,
    ChatModel,
    ImageModel,
    InstalledModel,
    Precision,
    Preprocess,
    Source,
    of_task,
)
from skerry.models.progress import Progress, ProgressSink, ignore_progress
from skerry.models.pulling import build_pulled
from skerry.models.references import Remote
from skerry.models.sharing import share_files

log = logging.getLogger(__name__)

AS_THE_FILES_SAY = Wanted()


class ModelStore(ModelFolder):
    """A models folder that changes; safe beside other processes on the same folder.

    A model appears by one rename of a complete, synced folder. Calls block: use a thread.
    All raise StorageFull or ModelUnavailable when the folder cannot be used.
    """

    def pull(self, name: str, *, progress: ProgressSink = ignore_progress) -> AnyModel:
        """Fetch a model of the catalogue, check and convert it; nothing is contacted if present.

        One that an earlier version of this package built is built anew. Raises ModelNotFound,
        SourceUnreachable, ChecksumMismatch, ModelInvalid.
        """
        if (present := self._present(name)) is not None and self.is_current(present):
            return present
        if name not in self.known:
            known = ", ".join(self.known)
            raise ModelNotFound(
                f"No model '{name}' is in the catalogue.",
                remedy=f"Known: {known}. Add your own with 'skerry models add'.",
            )
        with self._alone(name, progress):
            # Another process may have finished the same pull while this one waited.
            present = self._present(name)
            if present is None:
                return self._pull(self.known[name], progress)
            return present if self.is_current(present) else self._renewed(present, progress)

    def add(
        self,
        path: Path,
        *,
        name: str,
        labels: Sequence[str],
        preprocess: Preprocess,
        embedding: str | None = None,
    ) -> ImageModel:
        """Take in a user's `.onnx`, `.pth`, `.pt`, `.bin` or `.safetensors` file.

        `embedding` names the tensor of an ONNX graph that holds the features. Raises
        BadRequest for the name, Conflict when it is taken, ModelInvalid, PickleRefused.
        """
        self._check_free(name)
        if not path.is_file():
            raise ModelInvalid(f"{path} is not a file.")
        with self._alone(name, ignore_progress):
            self._check_free(name)
            graph = read_added(path, classes=len(labels), size=preprocess.size, embedding=embedding)
            description = Description(
                name=name,
                labels=tuple(labels),
                preprocess=preprocess,
                source=Source(kind="file", location=path.name, sha256=sha256_of(path)),
                license="the user's own",
                card=" ".join([f"Added from {path.name}.", *graph.notes]),
            )
            self._install(name, lambda folder: write_model(graph, description, folder))
            return self.get_image(name)

    def add_folder(self, path: Path, *, name: str, wanted: Wanted = AS_THE_FILES_SAY) -> AnyModel:
        """Take in a Hugging Face folder of a text encoder; `wanted` goes before what it says.

        Raises BadRequest for the name, Conflict when it is taken, ModelInvalid, PickleRefused.
        """
        self._check_free(name)
        if not path.is_dir():
            raise ModelInvalid(f"{path} is not a folder.")
        with self._alone(name, ignore_progress):
            self._check_free(name)

            def build(folder: Path) -> AnyManifest:
                parts = read_folder(path, wanted, scratch=folder)
                return write_encoder(parts, added_from(path, name=name), folder)

            return self._install(name, build)

    def add_chat(
        self, file: Path | Remote, *, name: str, progress: ProgressSink = ignore_progress
    ) -> ChatModel:
        """Take in a GGUF file: linked or copied, or fetched.

        Raises BadRequest for the name, Conflict when it is taken, ModelInvalid,
        SourceUnreachable, ChecksumMismatch.
        """
        self._check_free(name)
        with self._alone(name, progress):
            self._check_free(name)
            downloads = self._downloads()

            def build(folder: Path) -> AnyManifest:
                if isinstance(file, Remote):
                    return fetch_in(file, folder, name=name, downloads=downloads, progress=progress)
                return take_in(file, folder, name=name)

            return of_task(self._install(name, build), ChatManifest)

    def add_variant(
        self,
        name: str,
        *,
        precision: Precision,
        graph: Path,
        agreement: float,
        cosine: float,
        passed: bool,
    ) -> ImageModel:
        """Store `graph` (ONNX with the model's input and outputs) as a variant of a model.

        It replaces one of the same precision. Raises ModelNotFound, ModelInvalid.
        """
        model = load_variant(graph, of=self.get_image(name).manifest)
        with self._alone(name, ignore_progress), storage_errors(self.folder):
            installed = self.get_image(name)
            variant = write_variant(model, installed.folder, precision=precision)
            variant = msgspec.structs.replace(
                variant, agreement=agreement, cosine=cosine, passed=passed
            )
            others = [v for v in installed.manifest.variants if v.precision != precision]
            manifest = msgspec.structs.replace(installed.manifest, variants=(*others, variant))
            replace_synced(installed.folder / MANIFEST_FILE, manifest.encoded())
            stored = self.get_image(name)
            _remove_strays(stored)
            return stored

    def remove(self, name: str) -> None:
        """Remove a model and its files; ModelNotFound. A node that runs it keeps running it."""
        check_name(name)
        with storage_errors(self.folder):
            if not (self.folder / name).is_dir():
                raise self._absent(name)
            with self._alone(name, ignore_progress):
                shutil.rmtree(self._scratch(name), ignore_errors=True)
                (self.folder / name).rename(self._scratch(name))
                sync_folder(self.folder)
                shutil.rmtree(self._scratch(name))

    def _present(self, name: str) -> AnyModel | None:
        try:
            return self.get(name)
        except ModelNotFound:
            return None
        except ModelUnavailable as error:
            if name not in self.known:
                raise
            log.warning("%s It is pulled again.", error.message)
            return None

    def _renewed(self, old: AnyModel, progress: ProgressSink) -> AnyModel:
        """The model as this version of the package builds it, or as it is when that fails."""
        name = old.manifest.name
        log.info("'%s' is of another version of Skerry: it is built anew", name)
        try:
            return self._pull(self.known[name], progress)
        except (SourceUnreachable, StorageFull) as error:
            log.warning("'%s' stays as another version built it: %s", name, error.message)
            return old

    def _pull(self, entry: CatalogueEntry, progress: ProgressSink) -> AnyModel:
        downloads = self._downloads()

        def build(folder: Path) -> AnyManifest:
            return build_pulled(entry, folder, downloads=downloads, progress=progress)

        return self._install(entry.name, build)

    def _install(self, name: str, build: Callable[[Path], AnyManifest]) -> AnyModel:
        """Build the model's folder beside its place, then rename it there."""
        scratch, target = self._scratch(name), self.folder / name
        with storage_errors(self.folder):
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            try:
                share_files(InstalledModel(build(scratch), scratch), self.list())
                sync_folder(scratch)
                if target.exists():  # damaged or old: a whole one was returned before this
                    shutil.rmtree(target)
                scratch.rename(target)
                sync_folder(self.folder)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
        return self.get(name)

    @contextmanager
    def _alone(self, name: str, progress: ProgressSink) -> Iterator[None]:
        """Keep other processes from changing the same model."""

        def say() -> None:
            log.info("Another process is changing model %s; waiting for it.", name)
            progress(Progress("wait"))

        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / f".{name}.lock", on_wait=say):
            yield

    def _scratch(self, name: str) -> Path:
        return self.folder / f".{name}.partial"

    def _downloads(self) -> Path:
        downloads = self.folder / ".downloads"
        downloads.mkdir(exist_ok=True)
        return downloads

    def _check_free(self, name: str) -> None:
        check_name(name)
        if name in self.known:
            raise Conflict(
                f"'{name}' is the name of a model in the catalogue.",
                remedy="Choose another with --name.",
            )
        if (self.folder / name).exists():
            raise Conflict(
                f"A model '{name}' is installed.",
                remedy=f"Choose another with --name, or 'skerry models remove {name}' first.",
            )


def _remove_strays(model: AnyModel) -> None:
    """Delete what the manifest no longer names; a process that has mapped it keeps it.

    What engines keep beside the files (compiled models, measurements) was made of them, and goes.
    """
    kept = {MANIFEST_FILE, *(file.file for file in stored_files(model))}
    for path in model.folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in kept:
            path.unlink()
