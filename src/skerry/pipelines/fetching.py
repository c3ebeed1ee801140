"""Models on this machine: read and checked, or pulled first when they are of the catalogue."""

from __future__ import annotations

import logging
import threading

from skerry.config import ModelSettings
from skerry.errors import ModelNotFound, ServiceUnavailable
from skerry.models.folder import ModelFolder
from skerry.models.manifest import AnyModel
from skerry.models.progress import Progress

log = logging.getLogger(__name__)


class Fetcher:
    """Finds models in the folder and pulls absent ones. Calls block: use a thread."""

    def __init__(self, folder: ModelFolder, settings: ModelSettings) -> None:
        self._folder = folder
        self._settings = settings
        self._closing = threading.Event()

    def close(self) -> None:
        """Give up a pull that runs: it is continued, or begun anew, at the next start."""
        self._closing.set()

    def installed(self, name: str) -> AnyModel:
        """The model, every byte of it checked: changed weights would give what means nothing.

        Raises ModelNotFound, ModelUnavailable.
        """
        return self._folder.verify(name)

    def described(self, name: str) -> AnyModel:
        """Like `installed`, but only the sizes of its files are looked at."""
        return self._folder.get(name)

    def install(self, name: str) -> None:
        """Pull the model when it is absent, or of another version; its bytes are not read.

        Raises ModelNotFound, ModelUnavailable, SourceUnreachable, ChecksumMismatch, StorageFull.
        """
        try:
            if self._folder.is_current(self.described(name)):
                return
        except ModelNotFound:
            log.info("The model '%s' is not here yet: pulling it", name)
        # Converting needs packages that serving does not: loaded only now.
        from skerry.models.store import ModelStore
        from skerry.pipelines.install import pull_model

        store = ModelStore(self._folder.folder, known=self._folder.known)
        pull_model(store, name, settings=self._settings, progress=self._refuse_when_closing)

    def _refuse_when_closing(self, _: Progress) -> None:
        if self._closing.is_set():
            raise ServiceUnavailable("The node is shutting down.")
