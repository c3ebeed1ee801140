"""Turn texts into the token ids a model reads, and hold them to its window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from tokenizers import Tokenizer

from skerry.errors import BadRequest, ContextLengthExceeded, ModelUnavailable

Long = Literal["refuse", "split", "cut"]
"""What becomes of a text beyond the window: refused, read in several windows, or cut to one."""

TEXTS_AT_ONCE = 256
MAX_WINDOWS = 256
"""Most windows one text is split into."""
PART_CHARACTERS = 1 << 14
"""Of a text whose tokens' places are wanted: some thousand tuples, made in a few milliseconds."""
# White space makes no tokens and a word of WordPiece beyond 100 letters makes one, so a text may
# have more letters than its tokens could spell. With this many times more it is not read at all:
# ten megabytes would take ten seconds only to be refused.
ROOM = 16


class Tokens:
    """A `tokenizer.json` and the window of its model. Calls block, release the GIL, share nothing.

    Special tokens written inside a text stay text: only the tokenizer's own template gives any.
    """

    def __init__(self, path: Path, *, max_tokens: int) -> None:
        self.max_tokens = max_tokens
        self._tokenizer = _read(path)
        self.vocabulary_size: int = self._tokenizer.get_vocab_size(with_added_tokens=True)
        self._head, self._tail = _template(self._tokenizer)
        self._content = max_tokens - len(self._head) - len(self._tail)
        if self._content < 1:
            raise ModelUnavailable(
                f"A window of {max_tokens} tokens has no room beside the special tokens."
            )
        longest = max(map(len, self._tokenizer.get_vocab(with_added_tokens=True)), default=1)
        self._window_characters = max_tokens * longest

    def encode(
        self, texts: Sequence[str], *, long: Literal["refuse", "cut"] = "refuse"
    ) -> list[list[int]]:
        """The ids of each text, special tokens included: at most `max_tokens`.

        Raises ContextLengthExceeded for a text beyond the window unless `long` is "cut", and
        BadRequest for one that is no Unicode text (half a surrogate pair).
        """
        return [windows[0] for windows in self.windows(texts, long=long)]

    def windows(self, texts: Sequence[str], *, long: Long = "refuse") -> list[list[list[int]]]:
        """Each text as one window of ids, or as several when `long` is "split".

        Each has the special tokens, and the windows of a text do not overlap. Raises
        ContextLengthExceeded and BadRequest as `encode` does, and for a text of more than
        `MAX_WINDOWS` windows.
        """
        limit = self._window_characters * (MAX_WINDOWS if long == "split" else ROOM)
        result: list[list[list[int]]] = []
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            part = texts[start : start + TEXTS_AT_ONCE]
            for number, text in enumerate(part, start):
                _check_unicode(text, number)
                if long != "cut" and len(text) > limit:
                    raise self._too_long(f"Text {number} has {len(text)} characters", long=long)
            for number, ids in enumerate(self._contents(part, cut=long == "cut"), start):
                result.append(self._in_windows(ids, number, long=long))
        return result

    def given(
        self, ids: Sequence[int], *, number: int = 0, long: Long = "refuse"
    ) -> list[list[int]]:
        """The windows of a text that came as token ids; special tokens are added where absent.

        Raises BadRequest for an id the vocabulary has not, ContextLengthExceeded as `windows`.
        """
        for token in ids:
            if type(token) is not int or not 0 <= token < self.vocabulary_size:
                raise BadRequest(
                    f"Text {number} holds {token!r}, which is no token of this model.",
                    remedy=f"Its tokens are whole numbers from 0 to {self.vocabulary_size - 1}.",
                )
        return self._in_windows(self._without_template(list(ids)), number, long=long)

    def starts(self, text: str) -> list[int]:
        """The character at which each token of `text` begins, special tokens left out.

        Any length: it is read in parts that end at white space. BadRequest as `encode`.
        """
        _check_unicode(text, 0)
        found: list[int] = []
        for at, end in _parts(text):
            # `encode` would hold the interpreter for as long as it works; a batch does not.
            (encoding,) = self._tokenizer.encode_batch([text[at:end]], add_special_tokens=False)
            found.extend(at + start for start, _ in encoding.offsets)
        return found

    def _contents(self, texts: Sequence[str], *, cut: bool) -> list[list[int]]:
        """Ids without the special tokens; when the rest is cut anyway, of the beginnings only."""
        if cut:
            texts = [self._beginning(text) for text in texts]
        found = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in found]

    def _beginning(self, text: str) -> str:
        """As much of `text` as fills the window for certain, ended between words."""
        at = ROOM * self._window_characters
        if len(text) <= at:
            return text
        end = max(text.rfind(" ", 0, at), text.rfind("\n", 0, at))
        head = text[:end] if end > 0 else ""
        (filled,) = self._tokenizer.encode_batch_fast([head], add_special_tokens=False)
        return head if len(filled.ids) >= self._content else text

    def _without_template(self, ids: list[int]) -> list[int]:
        head, tail = self._head, self._tail
        whole = len(ids) >= len(head) + len(tail)
        if whole and ids[: len(head)] == head and ids[len(ids) - len(tail) :] == tail:
            return ids[len(head) : len(ids) - len(tail)]
        return ids

    def _in_windows(self, ids: list[int], number: int, *, long: Long) -> list[list[int]]:
        step = self._content
        if not ids and not self._head and not self._tail:
            raise BadRequest(f"Text {number} is empty: it gives the model nothing to read.")
        if len(ids) <= step or long == "cut":
            return [[*self._head, *ids[:step], *self._tail]]
        if long == "refuse" or len(ids) > step * MAX_WINDOWS:
            tokens = len(ids) + len(self._head) + len(self._tail)
            raise self._too_long(f"Text {number} is {tokens} tokens long", long=long)
        starts = range(0, len(ids), step)
        return [[*self._head, *ids[at : at + step], *self._tail] for at in starts]

    def _too_long(self, what: str, *, long: Long) -> ContextLengthExceeded:
        if long == "split":
            return ContextLengthExceeded(
                f"{what}; it is read in at most {MAX_WINDOWS} windows of {self.max_tokens} tokens.",
                remedy="Send it in several texts.",
            )
        return ContextLengthExceeded(
            f"{what}; this model reads at most {self.max_tokens} tokens.",
            remedy="Shorten the text, or send it in parts.",
        )


def _parts(text: str) -> Iterator[tuple[int, int]]:
    """Where to cut `text` so that no part is much longer than PART_CHARACTERS."""
    at = 0
    while at < len(text):
        end = min(at + PART_CHARACTERS, len(text))
        if end < len(text):
            space = max(text.rfind("\n", at, end), text.rfind(" ", at, end))
            end = space if space > at else end
        yield at, end
        at = end


def _read(path: Path) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception for any damage
        raise ModelUnavailable(f"The tokenizer {path.name} cannot be read: {error}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    return tokenizer


def _template(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """The special tokens that the tokenizer puts before and after one text."""
    whole = tokenizer.encode("a", add_special_tokens=True)
    special = whole.special_tokens_mask
    head = special.index(0) if 0 in special else len(special)
    tail = special[::-1].index(0) if 0 in special else 0
    return whole.ids[:head], whole.ids[len(special) - tail :]


def _check_unicode(text: str, number: int) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadRequest(
            f"Text {number} is no Unicode text: half a surrogate pair at character {error.start}.",
            remedy="Send the character itself, or both halves of its pair.",
        ) from error
