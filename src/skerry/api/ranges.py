"""`Range` of a request: which bytes of a file are asked for."""

from __future__ import annotations

import re

from skerry.errors import RangeNotSatisfiable

RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


def byte_range(header: str, *, size: int) -> tuple[int, int] | None:
    """First byte and number of bytes; None where the whole file is the answer.

    That is so without a header, and for forms that RFC 9110 (14.2) lets a server ignore: other
    units, several ranges, what is malformed. RangeNotSatisfiable when it lies outside the file.
    """
    match = RANGE.fullmatch(header.strip())
    if match is None or match[0] == "bytes=-":
        return None
    if not match[1]:
        return _suffix(int(match[2]), size)
    first = int(match[1])
    last = min(int(match[2]), size - 1) if match[2] else size - 1
    if first >= size:
        raise _outside(size)
    return (first, last - first + 1) if first <= last else None


def _suffix(length: int, size: int) -> tuple[int, int]:
    if length == 0 or size == 0:
        raise _outside(size)
    return max(0, size - length), min(length, size)


def _outside(size: int) -> RangeNotSatisfiable:
    return RangeNotSatisfiable(f"The file has {size} bytes.", size=size)
