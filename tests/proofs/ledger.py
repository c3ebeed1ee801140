"""What a crashing node was asked and what it acknowledged: the truth it is later held against."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field
from typing import Any

from pictures import png


@dataclass(eq=False)
class Image:
    """One image through its life. An operation under way when the node died may have happened."""

    data: bytes
    digest: str = ""
    id: int | None = None
    """Set while the node has acknowledged that it is stored."""
    version: int = 0
    """The last acknowledged value of its tag `version`."""
    pending: str = ""
    """`add`, `patch` or `delete`, sent and not answered."""
    former_ids: set[int] = field(default_factory=set)
    """Ids under which it was deleted."""

    def __post_init__(self) -> None:
        self.digest = hashlib.sha256(self.data).hexdigest()

    def lose(self) -> None:
        """It is deleted, or was never stored."""
        if self.id is not None:
            self.former_ids.add(self.id)
        self.id, self.version, self.pending = None, 0, ""

    def may_be_stored(self) -> bool:
        """Whether the node may have it."""
        return self.id is not None or self.pending == "add"

    def must_be_stored(self) -> bool:
        """Whether the node has to have it."""
        return self.id is not None and self.pending != "delete"

    def versions(self) -> set[int]:
        """The values its tag may have."""
        return {self.version, self.version + 1} if self.pending == "patch" else {self.version}


class Ledger:
    """Every image there ever was."""

    def __init__(self) -> None:
        self.images: list[Image] = []

    def new_image(self) -> Image:
        """An image nobody has sent yet."""
        image = Image(png(size=(24, 18)))
        self.images.append(image)
        return image

    def stored(self) -> list[Image]:
        """Those the node has acknowledged, and was not asked to delete."""
        return [image for image in self.images if image.id is not None]

    def settle(self, rows: dict[str, dict[str, Any]]) -> list[str]:
        """Compare with the node's rows by digest, take over what was open; the violations."""
        known = {image.digest: image for image in self.images}
        wrong = [f"the row {rows[d]} is of no image we sent" for d in rows.keys() - known.keys()]
        for image in self.images:
            wrong += self._settle(image, rows.get(image.digest))
        return wrong

    def _settle(self, image: Image, row: dict[str, Any] | None) -> list[str]:
        wrong = _differences(image, row)
        if row is None:
            image.lose()
        else:
            if row["id"] in image.former_ids:
                wrong.append(f"{image.digest} came back under its old id {row['id']}")
            image.id, image.version = row["id"], row["tags"].get("version", 0)
        image.pending = ""
        return wrong

    def forget_some(self, *, keep: int) -> list[Image]:
        """Stored images beyond `keep`, to be deleted so that rounds stay quick."""
        stored = self.stored()
        return random.sample(stored, max(0, len(stored) - keep))


def _differences(image: Image, row: dict[str, Any] | None) -> list[str]:
    if row is None:
        return [f"{image.digest} ({image.id}) is lost"] if image.must_be_stored() else []
    if not image.may_be_stored():
        return [f"{image.digest} was deleted or never sent, and is there as {row['id']}"]
    wrong = []
    if image.id is not None and row["id"] != image.id:
        wrong.append(f"{image.digest} was {image.id} and is now {row['id']}")
    if row["tags"].get("version", 0) not in image.versions():
        wrong.append(f"{image.digest} has the tags {row['tags']}, not {image.versions()}")
    if row["bytes"] != len(image.data):
        wrong.append(f"{image.digest} has {row['bytes']} bytes, not {len(image.data)}")
    return wrong
