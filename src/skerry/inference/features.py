"""What an image model says of an image, ranked and packed as the cache holds it."""

from __future__ import annotations

import struct

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from skerry.inference.base import Float32

RANKED = 100  # labels kept of each answer; more than anybody reads, less than a kilobyte
HEADER = struct.Struct("<II")


class Features(msgspec.Struct, frozen=True):
    """What an engine gave for one image.

    `embedding`: float32 (d,), L2-normalised; `indices` int32 and `probabilities` float32, both
    (min(classes, 100),), in falling order of probability. `embedding_json` is the embedding as
    answers write it, which costs more than all else a cached answer computes but the hash.
    """

    embedding: NDArray[np.float32]
    indices: NDArray[np.int32]
    probabilities: NDArray[np.float32]
    embedding_json: bytes

    def pack(self) -> bytes:
        """As the cache holds it: two lengths, the three arrays, little-endian, and the JSON."""
        head = HEADER.pack(self.embedding.size, self.indices.size)
        arrays = (self.embedding, self.indices, self.probabilities)
        return b"".join((head, *(array.tobytes() for array in arrays), self.embedding_json))

    @classmethod
    def unpack(cls, data: bytes) -> Features:
        """The inverse of `pack`; the arrays are views of `data`."""
        size, ranked = HEADER.unpack_from(data)
        offset = HEADER.size
        embedding = np.frombuffer(data, np.float32, size, offset)
        offset += embedding.nbytes
        indices = np.frombuffer(data, np.int32, ranked, offset)
        offset += indices.nbytes
        probabilities = np.frombuffer(data, np.float32, ranked, offset)
        offset += probabilities.nbytes
        return cls(embedding, indices, probabilities, data[offset:])


def rank(*, logits: Float32, embedding: Float32) -> Features:
    """Normalise the embedding, (d,), and rank the labels by softmax of the logits, (classes,)."""
    exponents = np.exp(logits - logits.max())
    probabilities = exponents / exponents.sum()
    kept = min(RANKED, probabilities.size)
    top = np.argpartition(probabilities, -kept)[-kept:]
    order = top[np.argsort(-probabilities[top], kind="stable")]
    norm = float(np.linalg.norm(embedding))
    embedding = embedding / np.float32(norm or 1.0)
    return Features(
        embedding,
        order.astype(np.int32),
        probabilities[order].astype(np.float32),
        # orjson writes float32 as its shortest decimals, ten times faster than a list of floats.
        orjson.dumps(embedding, option=orjson.OPT_SERIALIZE_NUMPY),
    )
