"""Read the names of a model's classes, in the order of its outputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from skerry.errors import ModelInvalid
from skerry.models.shipped import shipped

SHIPPED = ("imagenet-1k",)


def shipped_labels(name: str) -> tuple[str, ...]:
    """One of the lists in this package's `data` folder (see its README for the sources)."""
    return tuple(shipped(f"{name}.txt").decode().splitlines())


def read_labels(source: str | Path) -> tuple[str, ...]:
    """Labels from a file: one a line, a JSON list, or a JSON object of index to label.

    A name of SHIPPED stands for the list of that name, unless a file is called so.
    Raises ModelInvalid for a file that cannot be read or names a class twice.
    """
    path = Path(source)
    if str(source) in SHIPPED and not path.exists():
        return shipped_labels(str(source))
    labels = _parse(path)
    if not labels:
        raise ModelInvalid(f"{path.name} holds no labels.")
    _check(labels, path)
    return tuple(labels)


def _parse(path: Path) -> Sequence[str]:
    try:
        text = path.read_text("utf-8-sig")
        if path.suffix != ".json":
            return [line.strip() for line in text.rstrip().splitlines()]
        parsed = msgspec.json.decode(text, type=list[str] | dict[int, str])
    except OSError as error:
        raise ModelInvalid(f"Cannot read labels from {path}: {error.strerror}.") from error
    except (UnicodeDecodeError, msgspec.DecodeError) as error:
        raise ModelInvalid(
            f"{path.name} holds no labels that can be read: {error}.",
            remedy="Write one label a line, or a JSON list, in the order of the model's outputs.",
        ) from error
    if isinstance(parsed, list):
        return parsed
    if sorted(parsed) != list(range(len(parsed))):
        raise ModelInvalid(f"The indexes in {path.name} are not 0 to {len(parsed) - 1}.")
    return [parsed[index] for index in range(len(parsed))]


def _check(labels: Sequence[str], path: Path) -> None:
    if "" in labels:
        raise ModelInvalid(f"Label {labels.index('')} in {path.name} is empty.")
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise ModelInvalid(f"The label '{twice}' stands twice in {path.name}.")
