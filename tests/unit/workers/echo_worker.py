"""A worker for the tests: does what the call's first word says."""

import os
import sys
import time

from skerry.errors import SpaceMismatch
from skerry.workers.child import open_channel


def main() -> None:
    channel = open_channel()
    while (call := channel.receive(wait=True)) is not None:
        verb, _, rest = call.body.partition(b" ")
        if verb == b"echo":
            channel.answer(call.call_id, rest)
        elif verb == b"refuse":
            channel.fail(call.call_id, SpaceMismatch(rest.decode(), remedy="r"))
        elif verb == b"pid":
            channel.answer(call.call_id, str(os.getpid()).encode())
        elif verb == b"hang":
            time.sleep(60)
        elif verb == b"slow":
            time.sleep(0.2)
            channel.answer(call.call_id, rest)
        elif verb == b"exit":
            print("leaving", file=sys.stderr)
            sys.exit(3)


main()
