"""From the bytes of tokens to text: whole characters, ended before a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class TextStream:
    """Gives text as it becomes certain.

    Held back are the bytes of a character that is not complete, and an end that may become one
    of the stop strings. After `stopped` is set no more text comes.
    """

    def __init__(self, stop: Sequence[str] = ()) -> None:
        self.stopped = False
        self._stop = [text for text in stop if text]
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def feed(self, data: bytes) -> str:
        """The text that is certain after these bytes."""
        if self.stopped:
            return ""
        text = self._held + self._decoder.decode(data)
        end = min((at for stop in self._stop if (at := text.find(stop)) >= 0), default=None)
        if end is not None:
            self.stopped, self._held = True, ""
            return text[:end]
        keep = len(text) - held_back(text, self._stop)
        self._held = text[keep:]
        return text[:keep]

    def finish(self) -> str:
        """What was held back for a stop string that did not come; half a character is dropped."""
        text, self._held = self._held, ""
        return text


def held_back(text: str, marks: Sequence[str]) -> int:
    """Length of the longest end of `text` with which one of `marks` begins, but does not end."""
    longest = min(len(text), max((len(mark) for mark in marks), default=0))
    for length in range(longest, 0, -1):
        end = text[-length:]
        if any(len(mark) > length and mark.startswith(end) for mark in marks):
            return length
    return 0
