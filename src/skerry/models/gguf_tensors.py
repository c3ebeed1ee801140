"""The tensors a GGUF header describes, held against the file that has to contain them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from skerry.models.gguf_reader import HeaderReader

MAX_NAME_BYTES = 256
MAX_DIMENSIONS = 4
MAX_ELEMENTS = 1 << 44
# Type -> its name, elements in a block, bytes of a block.
TYPES = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210), 16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50), 20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8),
    28: ("F64", 1, 8), 29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor: `offset` is from the beginning of the data."""

    name: str
    elements: int
    type: str
    offset: int
    bytes: int


def read_tensors(reader: HeaderReader, count: int) -> list[Tensor]:
    """The descriptions of all tensors; ModelInvalid for one that cannot be."""
    tensors = [_read_tensor(reader) for _ in range(count)]
    if len({tensor.name for tensor in tensors}) != count:
        raise reader.wrong("has two tensors of one name")
    return tensors


def check_layout(
    reader: HeaderReader, tensors: list[Tensor], *, begin: int, alignment: int
) -> None:
    """ModelInvalid unless every tensor lies in the file, aligned, and on no other's bytes."""
    if not tensors:
        raise reader.wrong("holds no tensors")
    end = begin
    for tensor in sorted(tensors, key=lambda tensor: tensor.offset):
        start = begin + tensor.offset
        if tensor.offset % alignment:
            raise reader.wrong(f"has the tensor '{tensor.name}' at an odd place")
        if start < end:
            raise reader.wrong(f"has the tensor '{tensor.name}' on top of another")
        end = start + tensor.bytes
        if end > reader.size:
            raise reader.wrong(f"ends before its tensor '{tensor.name}' does")


def dominant_type(tensors: list[Tensor]) -> str:
    """The type that most of the weights are stored in."""
    totals: Counter[str] = Counter()
    for tensor in tensors:
        totals[tensor.type] += tensor.elements
    return totals.most_common(1)[0][0]


def _read_tensor(reader: HeaderReader) -> Tensor:
    name = reader.text(limit=MAX_NAME_BYTES)
    dimensions = reader.u32()
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise reader.wrong(f"has a tensor of {dimensions} dimensions")
    shape = [reader.u64() for _ in range(dimensions)]
    kind, offset = reader.u32(), reader.u64()
    if kind not in TYPES:
        raise reader.wrong(f"has a tensor of the unknown type {kind}")
    elements = 1
    for length in shape:
        elements *= length
    if not 1 <= elements <= MAX_ELEMENTS:
        raise reader.wrong(f"has a tensor of {elements} elements")
    type_name, block, block_bytes = TYPES[kind]
    if shape[0] % block:
        raise reader.wrong(f"has rows of {shape[0]} elements in blocks of {block}")
    return Tensor(name, elements, type_name, offset, elements // block * block_bytes)
