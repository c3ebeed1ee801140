"""Read the small JSON files beside a model's weights into typed values."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from skerry.errors import ModelInvalid

T = TypeVar("T")
# A vocabulary of a quarter of a million words has about 5 MB.
MAX_BYTES = 64_000_000


def read_json(path: Path, kind: type[T]) -> T:
    """The file's content as `kind`; ModelInvalid says which field is wrong."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelInvalid(f"{path.name} has more than {MAX_BYTES:,} bytes.")
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise ModelInvalid(f"Cannot read {path.name}: {error.strerror}.") from error
    except RecursionError as error:
        raise ModelInvalid(f"{path.name} is nested too deeply.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelInvalid(f"{path.name} cannot be used: {error}.") from error


def read_json_if_present(path: Path, kind: type[T]) -> T:
    """Like `read_json`; without the file, `kind` with its defaults."""
    return read_json(path, kind) if path.exists() else kind()
