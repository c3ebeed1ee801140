"""The process of an image model: decodes what arrives and runs it, in threads of its own.

Decoding strangers' bytes happens here and not in the node, and the interpreter's lock is shared
by these threads alone.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Lock, Thread

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
from skerry.workers.frames import Frame
from skerry.workers.relay import send_logs


class Server:
    """Loads a model, then answers each Run.

    Its threads take turns to read the next call, and who read it works on it: that spares a
    wake-up an image. There are as many as the engine computes for side by side: another one keeps
    no core from idling, and costs the caches of those that compute.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._reading = Lock()
        self._writing = Lock()
        self._extraction: Extraction | None = None

    def run(self) -> None:
        """Serve until the node closes the channel."""
        frame = self._channel.receive(wait=True)
        if frame is None:
            return
        self._answer(frame.call_id, partial(self._load, frame.body))
        if self._extraction is None:
            return
        count = self._extraction.engine.streams
        threads = [Thread(target=self._work, args=(self._extraction,)) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _load(self, body: bytes) -> bytes:
        load = decode_call(body)
        if not isinstance(load, Load):
            raise ModelUnavailable("No model is loaded in this process.")
        began = time.perf_counter()
        model = ModelFolder(Path(load.folder)).get_image(load.name)
        engine = load_engine(model, settings=load.settings)
        self._extraction = Extraction(engine, model.manifest.preprocess, max_pixels=load.max_pixels)
        loaded = Loaded(
            info=engine.info,
            streams=engine.streams,
            max_batch=engine.max_batch,
            elapsed_s=time.perf_counter() - began,
        )
        return encode(loaded)

    def _work(self, extraction: Extraction) -> None:
        while (frame := self._next()) is not None:
            self._answer(frame.call_id, partial(_run, extraction, frame.body))

    def _next(self) -> Frame | None:
        with self._reading:
            return self._channel.receive(wait=True)

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


def _run(extraction: Extraction, body: bytes) -> bytes:
    call = decode_call(body)
    if not isinstance(call, Run):
        raise ModelUnavailable("This process has its model already.")
    return encode_extractions(extraction.run(call.images))


def main() -> None:
    """Run as `python -m skerry.inference.image_worker` with the channel as standard input."""
    send_logs()
    Server(open_channel()).run()


if __name__ == "__main__":
    main()
