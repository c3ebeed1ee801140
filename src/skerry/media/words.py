"""Cut text into the terms a keyword index knows, with their places in the text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise, zip_longest
from typing import NamedTuple

import regex
import Stemmer

# Scripts written without spaces, and Korean, whose words carry their particles: such a run is cut
# into overlapping pairs of characters, as Lucene's CJK analyser does.
UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}ー々〆ｰﾞﾟ"
WORD = regex.compile(
    rf"""
    (?P<unspaced> [{UNSPACED}][{UNSPACED}\p{{M}}]* )
  | (?P<number> \p{{Nd}}+(?:[.,]\p{{Nd}}+)+ )
  | (?P<word> [[\w\p{{M}}]--[{UNSPACED}]]+ (?:['’](?:[sStTdDmM]|[rR][eE]|[vV][eE]|[lL]{{2}})\b)? )
    """,
    regex.VERBOSE | regex.VERSION1,
)
# The same for a text of ASCII alone, which takes half the time.
ASCII_WORD = re.compile(
    r"""
    (?P<number> \d+(?:[.,]\d+)+ )
  | (?P<word> \w+ (?:'(?:[sStTdDmM]|[rR][eE]|[vV][eE]|[lL]{2})\b)? )
    """,
    re.VERBOSE | re.ASCII,
)
LONE = regex.compile(rf"[{UNSPACED}]\p{{M}}*", regex.VERSION1)
CHARACTER = regex.compile(r"\X")
PARTS = regex.compile(r"[^\W_]+")
THOUSANDS = regex.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")

MAX_TERM_CHARACTERS = 64
MAX_RUN_CHARACTERS = 256
"""Longer runs of letters are no words: they are indexed by their beginning."""

# Letters that Unicode does not take apart although their stroke or ligature is seldom typed.
PLAIN_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe", "’": "'"}
)

COMMONEST = """
a about am an and any are as at be been being but by can could did do does doing for from had has
have he her him his how i if in into is it its may me my not of on or our shall she should so some
such than that the their them then there these they this those to us was we were what when where
which who whom whose why will with would you your
"""


class Word(NamedTuple):
    """A term of the index, and the characters `start` to `end` of the text it comes from."""

    term: str
    start: int
    end: int


def words(text: str) -> list[Word]:
    """All terms of `text` in order; `start` and `end` index `text` as it was given.

    Case, accents and width are folded, English endings stemmed. A run of Chinese, Japanese,
    Korean or Thai gives its overlapping pairs of characters, or its only character. A number
    with its decimals is one term; `an_identifier` is one, and each of its parts as well.
    """
    found: list[Word] = []
    for match in (ASCII_WORD if text.isascii() else WORD).finditer(text):
        start, end = match.span()
        if match.lastgroup == "unspaced":
            found.extend(_pairs(match.group(), start))
            continue
        for term in _terms(match.group()[:MAX_RUN_CHARACTERS]):
            found.append(Word(term, start, end))
    return found


def index_terms(text: str) -> list[str]:
    """The terms of `words` for an index, and the last character of each run cut into pairs.

    With it every character of a run begins a term: `is_lone` ones are searched by prefix.
    """
    found = words(text)
    if text.isascii():
        return [word.term for word in found]
    terms: list[str] = []
    for word, after in zip_longest(found, found[1:]):
        terms.append(word.term)
        ends = after is None or after.start >= word.end
        if ends and LONE.match(word.term) and not is_lone(word.term):
            terms.append(CHARACTER.findall(word.term)[-1])
    return terms


def is_lone(term: str) -> bool:
    """Whether a term is one character of a script that is indexed by pairs of them."""
    return LONE.fullmatch(term) is not None


def query_terms(text: str) -> list[str]:
    """The terms to search for: each once, without the commonest English words.

    When a query holds nothing else ("to be or not to be") they are all kept.
    """
    terms = list(dict.fromkeys(word.term for word in words(text)))
    common = _commonest()
    return [term for term in terms if term not in common] or terms


def _pairs(run: str, start: int) -> Iterator[Word]:
    units = [(_folded(unit.group()), *unit.span()) for unit in CHARACTER.finditer(run)]
    if len(units) == 1:
        folded, begin, end = units[0]
        yield Word(folded, start + begin, start + end)
    for (first, begin, _), (second, _, end) in pairwise(units):
        yield Word(first + second, start + begin, start + end)


@lru_cache(maxsize=1 << 16)
def _terms(run: str) -> tuple[str, ...]:
    folded = run.lower() if run.isascii() else _folded(run)
    if THOUSANDS.fullmatch(folded):
        return (folded.replace(",", ""),)
    if folded[0].isdigit() and ("." in folded or "," in folded):
        return (folded[:MAX_TERM_CHARACTERS],)
    parts = PARTS.findall(folded)
    if folded.isalnum():
        return (_stemmed(folded),)
    if "_" not in folded:  # "don't", or a sign that folded to several words
        whole = _stemmed(folded)
        return (whole,) if "'" in folded else tuple(map(_stemmed, parts))
    whole = folded.strip("_")[:MAX_TERM_CHARACTERS]
    stems = tuple(_stemmed(part) for part in parts)
    return (whole, *stems) if len(parts) > 1 else stems


def _stemmed(word: str) -> str:
    if not word.isascii() or any(map(str.isdigit, word)):
        return word[:MAX_TERM_CHARACTERS]
    return str(_snowball().stemWord(word[:MAX_TERM_CHARACTERS]))


def _folded(text: str) -> str:
    """`text` without case, width, ligatures and accents; marks that are vowels stay."""
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    kept = "".join(c for c in apart if not _is_accent(unicodedata.combining(c)))
    return unicodedata.normalize("NFC", kept).translate(PLAIN_LETTERS)


def _is_accent(combining_class: int) -> bool:
    # 1: overlays; 10-35: Hebrew and Arabic points; from 200 on: marks above and below. What lies
    # between are the vowel and voicing marks of Indic scripts, Thai and Japanese.
    return combining_class == 1 or 10 <= combining_class <= 35 or combining_class >= 200


@lru_cache(maxsize=1)
def _commonest() -> frozenset[str]:
    return frozenset(term for word in COMMONEST.split() for term in _terms(word))


@lru_cache(maxsize=1)
def _snowball() -> Stemmer.Stemmer:
    return Stemmer.Stemmer("english", 0)  # 0: `_terms` remembers the words already
