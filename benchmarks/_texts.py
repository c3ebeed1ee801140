"""Texts of given lengths for the benchmarks, out of the standard library's own documentation."""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from skerry.media.tokens import Tokens

SHORTEST_LETTERS = 40
SHORTEST_SHARE = 0.9
CODE = (">>>", "----", "::")


def words() -> list[str]:
    """Running English text, the same on each run of one version of Python."""
    paragraphs = set()
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        for found in re.findall(r'"""(.*?)"""', path.read_text("utf-8", errors="ignore"), re.S):
            for paragraph in re.split(r"\n\s*\n", found):
                text = " ".join(paragraph.split())
                if len(text) >= SHORTEST_LETTERS and not any(mark in text for mark in CODE):
                    paragraphs.add(text)
    ordered = sorted(paragraphs)
    np.random.default_rng(3).shuffle(ordered)
    return " ".join(ordered).split()


def texts_of(tokens: Tokens, running: Sequence[str], *, length: int, count: int) -> list[str]:
    """`count` texts of `length` tokens or a few fewer, no two alike."""
    texts: list[str] = []
    for at in range(0, len(running), length + 7):
        taken = list(running[at : at + length])
        while (tokens_of := len(tokens.windows([" ".join(taken)], long="split")[0][0])) > length:
            taken.pop()
        if tokens_of >= SHORTEST_SHARE * length:
            texts.append(" ".join(taken))
        if len(texts) == count:
            break
    return texts
