"""The process of an image model: decodes what arrives and runs it, in threads of its own.

Decoding strangers' bytes happens here and not in the node, and the interpreter's lock is shared
by these threads alone.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Lock

from skerry.errors import ModelUnavailable, SkerryError
from skerry.inference.extraction import Extraction
from skerry.inference.image_wire import (
    Load,
    Loaded,
    Run,
    decode_call,
    encode,
    encode_extractions,
)
from skerry.inference.loading import load_engine
from skerry.models.folder import ModelFolder
from skerry.workers.child import Channel, open_channel
from skerry.workers.relay import send_logs


class Server:
    """Answers Load in turn, and each Run in a thread."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._writing = Lock()
        self._extraction: Extraction | None = None
        self._threads: ThreadPoolExecutor | None = None

    def run(self) -> None:
        """Serve until the node closes the channel."""
        while (frame := self._channel.receive(wait=True)) is not None:
            call = decode_call(frame.body)
            if isinstance(call, Load):
                self._answer(frame.call_id, partial(self._load, call))
            else:
                self._start(frame.call_id, call)
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)

    def _load(self, load: Load) -> bytes:
        began = time.perf_counter()
        model = ModelFolder(Path(load.folder)).get_image(load.name)
        engine = load_engine(model, settings=load.settings)
        self._extraction = Extraction(engine, model.manifest.preprocess, max_pixels=load.max_pixels)
        # One more than can run: it decodes while the others compute, and no core waits for it.
        self._threads = ThreadPoolExecutor(engine.streams + 1, "images")
        loaded = Loaded(
            info=engine.info,
            streams=engine.streams,
            max_batch=engine.max_batch,
            elapsed_s=time.perf_counter() - began,
        )
        return encode(loaded)

    def _start(self, call_id: int, call: Run) -> None:
        extraction, threads = self._extraction, self._threads
        if extraction is None or threads is None:
            self._fail(call_id, ModelUnavailable("No model is loaded in this process."))
            return
        threads.submit(
            self._answer, call_id, lambda: encode_extractions(extraction.run(call.images))
        )

    def _answer(self, call_id: int, work: Callable[[], bytes]) -> None:
        try:
            body = work()
        except SkerryError as error:
            self._fail(call_id, error)
        except Exception as error:  # fail this call, keep serving
            traceback.print_exc()
            self._fail(call_id, ModelUnavailable(f"The image model's process failed: {error}"))
        else:
            with self._writing:
                self._channel.answer(call_id, body)

    def _fail(self, call_id: int, error: SkerryError) -> None:
        with self._writing:
            self._channel.fail(call_id, error)


def main() -> None:
    """Run as `python -m skerry.inference.image_worker` with the channel as standard input."""
    send_logs()
    Server(open_channel()).run()


if __name__ == "__main__":
    main()
