import hashlib
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from skerry.sql.images import ImageRow, ImageTable, Label, NewImage
from skerry.sql.sqlite import SqliteDatabase

SPACE = "lite2"


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(tmp_path / "skerry.db")
    yield database
    await database.close()


@pytest.fixture
def table(db: SqliteDatabase) -> ImageTable:
    return ImageTable(db)


def new_image(name: str, **changes: object) -> NewImage:
    values: dict = {
        "sha256": hashlib.sha256(name.encode()).hexdigest(),
        "filename": f"{name}.jpg",
        "media_type": "image/jpeg",
        "width": 4,
        "height": 3,
        "bytes": 12,
        "uploaded_by": "ann",
        "created_at": 1_764_000_000,
        "tags": {"shelf": "3"},
        "labels": (Label("tabby, tabby cat", 281, 0.8), Label("tiger cat", 282, 0.1)),
    }
    return NewImage(**(values | changes))


def vector(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(8).astype(np.float32)


@pytest.fixture
def add(db: SqliteDatabase, table: ImageTable) -> Callable[..., object]:
    async def add(name: str, **changes: object) -> ImageRow:
        image = new_image(name, **changes)
        return await db.write(lambda tx: table.insert(tx, image, embedding=vector(), space=SPACE))

    return add


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("may not mount a small file system here: needs root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
