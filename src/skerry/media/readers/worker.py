"""The process that reads files: one call, one file, nothing kept in between."""

from __future__ import annotations

import os
import sys
import traceback

import msgspec

from skerry.errors import DocumentUnreadable, SkerryError
from skerry.media.readers.base import READY, ReadCall
from skerry.media.readers.charsets import load_codecs
from skerry.media.readers.confinement import bound, confine
from skerry.media.readers.parse import parse
from skerry.workers.child import Channel, open_channel
from skerry.workers.frames import Frame


def serve(channel: Channel) -> None:
    """Answer calls until the node closes the channel."""
    while (frame := channel.receive(wait=True)) is not None:
        try:
            channel.answer(frame.call_id, _answer(frame))
        except SkerryError as error:
            channel.fail(frame.call_id, error)
        except MemoryError:
            # What is left of memory is in pieces: the next file gets a new process.
            os.write(sys.stderr.fileno(), b"The file needs more memory than one file may take.\n")
            os._exit(1)
        except OSError as error:  # a parser asked for a file, or for code not loaded yet
            traceback.print_exc()
            refused = f"Reading the file needs what its reader may not do: {error.strerror}."
            channel.fail(frame.call_id, DocumentUnreadable(refused))
        except Exception as error:  # fail this file, keep serving
            traceback.print_exc()
            kind = type(error).__name__
            channel.fail(frame.call_id, DocumentUnreadable(f"The file is damaged ({kind})."))


def _answer(frame: Frame) -> bytes:
    if frame.body == READY:
        return READY
    call = msgspec.msgpack.decode(frame.body, type=ReadCall)
    bound(memory_bytes=call.limits.memory_bytes, time_s=call.limits.time_s)
    return msgspec.msgpack.encode(parse(call))


def main() -> None:
    """Run as a worker."""
    channel = open_channel()
    load_codecs()
    confine()
    serve(channel)


if __name__ == "__main__":
    main()
