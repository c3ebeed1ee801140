"""Measure a classifier, calibrate it, and write what came out as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from texts import LABELS, Text

BINS = 15
TEMPERATURES = np.geomspace(0.3, 5.0, 200)


@dataclass(frozen=True, slots=True)
class Measured:
    """A classifier on some texts; `confusion` counts [is, said] in the order of LABELS."""

    what: str
    confusion: NDArray[np.int64]
    calibration_error: float | None = None

    @property
    def accuracy(self) -> float:
        """The share of texts classified as the raters did."""
        return float(np.trace(self.confusion) / self.confusion.sum())

    @property
    def f1(self) -> NDArray[np.float64]:
        """F1 of each class that occurs."""
        occurs = self.confusion.sum(1) > 0
        both = self.confusion.sum(0) + self.confusion.sum(1)
        return 2 * np.diag(self.confusion)[occurs] / both[occurs]

    @property
    def macro_f1(self) -> float:
        """The mean of the classes' F1."""
        return float(self.f1.mean())

    def row(self) -> str:
        """A row of `TABLE`."""
        error = "" if self.calibration_error is None else f"{self.calibration_error:.3f}"
        count = int(self.confusion.sum())
        return f"| {self.what} | {count:,} | {self.macro_f1:.3f} | {self.accuracy:.3f} | {error} |"


TABLE = "| texts | count | macro-F1 | accuracy | calibration error |\n|---|--:|--:|--:|--:|"


def labels_of(texts: Sequence[Text]) -> NDArray[np.int64]:
    """Their classes."""
    return np.array([text.label for text in texts], np.int64)


def measure(what: str, texts: Sequence[Text], chances: NDArray[np.float64]) -> Measured:
    """Hold probabilities (n, labels) against the raters."""
    is_class, said = labels_of(texts), chances.argmax(1)
    confusion = np.zeros((len(LABELS), len(LABELS)), np.int64)
    np.add.at(confusion, (is_class, said), 1)
    sure, right = chances.max(1), said == is_class
    place = np.minimum((sure * BINS).astype(int), BINS - 1)
    gaps = [abs(sure[place == b].sum() - right[place == b].sum()) for b in range(BINS)]
    certain = np.isin(chances, (0, 1)).all()  # of rules, which give no probabilities
    return Measured(what, confusion, None if certain else float(sum(gaps) / len(texts)))


def softmax(logits: NDArray[np.float32], *, temperature: float) -> NDArray[np.float64]:
    """Probabilities of logits (n, labels)."""
    scaled = logits.astype(np.float64) / temperature
    grown = np.exp(scaled - scaled.max(1, keepdims=True))
    return grown / grown.sum(1, keepdims=True)


def best_temperature(texts: Sequence[Text], logits: NDArray[np.float32]) -> float:
    """The temperature at which the classes are likeliest (Guo et al. 2017)."""
    is_class = labels_of(texts)

    def surprise(temperature: float) -> float:
        chances = softmax(logits, temperature=temperature)[np.arange(len(texts)), is_class]
        return float(-np.log(chances + 1e-12).mean())

    return float(min(TEMPERATURES, key=surprise))


def confusion_table(measured: Measured) -> str:
    """The confusion matrix as Markdown."""
    head = "| is \\ said | " + " | ".join(LABELS) + " |\n|---|" + "--:|" * len(LABELS)
    rows = [
        f"| {label} | " + " | ".join(str(n) for n in row) + " |"
        for label, row in zip(LABELS, measured.confusion.tolist(), strict=True)
    ]
    return "\n".join([head, *rows])
