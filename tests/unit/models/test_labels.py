"""Labels come in the order of a model's outputs, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from skerry.errors import ModelInvalid
from skerry.models.labels import read_labels, shipped_labels


def test_the_shipped_labels_of_imagenet_are_a_thousand_different_names() -> None:
    labels = shipped_labels("imagenet-1k")
    assert len(set(labels)) == len(labels) == 1000
    assert labels[0] == "tench, Tinca tinca"
    assert labels[281] == "tabby, tabby cat"
    assert labels[134] == "crane (bird)"
    assert labels[999].startswith("toilet tissue")


def test_shipped_labels_are_read_by_their_name() -> None:
    assert read_labels("imagenet-1k") == shipped_labels("imagenet-1k")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.txt", "cat\r\ndog\nGröße, size\n\n"),
        ("l.txt", "\ufeffcat\ndog\nGröße, size"),
        ("l.json", '["cat", "dog", "Größe, size"]'),
        ("l.json", '{"1": "dog", "0": "cat", "2": "Größe, size"}'),
    ],
)
def test_lines_a_json_list_and_a_json_object_are_read(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text, "utf-8", newline="")
    assert read_labels(path) == ("cat", "dog", "Größe, size")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("l.txt", b"", "no labels"),
        ("l.txt", b"cat\n\ndog", "Label 1 .* is empty"),
        ("l.txt", b"cat\ndog\ncat", "'cat' stands twice"),
        ("l.txt", b"caf\xe9", "no labels that can be read"),
        ("l.json", b'{"0": "cat", "2": "dog"}', "not 0 to 1"),
        ("l.json", b"[1, 2]", "no labels that can be read"),
        ("l.json", b"cat", "no labels that can be read"),
    ],
)
def test_what_cannot_be_labels_is_refused(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ModelInvalid, match=message):
        read_labels(tmp_path / name)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid, match=r"none\.txt: No such file"):
        read_labels(tmp_path / "none.txt")
