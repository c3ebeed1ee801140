"""Frames come out whole, however the stream is cut."""

import random

import msgspec
import pytest

from skerry.errors import Overloaded, SkerryError
from skerry.workers.frames import (
    ANSWER,
    HEADER,
    MAX_BODY_BYTES,
    Frame,
    Splitter,
    WireError,
    decode_error,
    encode_error,
)


@pytest.mark.parametrize("seed", range(5))
def test_frames_cut_anywhere_come_out_whole(seed):
    pick = random.Random(seed)
    sizes = [pick.choice([0, 1, 7, 8, 9, 10, 300, 5000]) for _ in range(60)]
    frames = [Frame(number, ANSWER, pick.randbytes(size)) for number, size in enumerate(sizes)]
    stream = b"".join(
        HEADER.pack(len(frame.body), frame.call_id, frame.kind) + frame.body for frame in frames
    )
    splitter, found = Splitter(), []
    while stream:
        cut = pick.choice([1, 2, 8, 9, 50, 4000])
        found += splitter.feed(stream[:cut])
        stream = stream[cut:]
    assert found == frames


def test_senseless_length_is_refused():
    with pytest.raises(ValueError, match="frame of"):
        Splitter().feed(HEADER.pack(MAX_BODY_BYTES + 1, 0, 0))


def test_error_arrives_as_the_class_of_its_code():
    error = decode_error(encode_error(Overloaded("full", retry_after_s=2)))
    assert type(error) is Overloaded
    assert (error.message, error.retry_after_s) == ("full", 2)
    assert error.remedy == Overloaded.default_remedy


def test_error_of_unknown_code_is_still_an_error():
    body = msgspec.msgpack.encode(WireError("from_the_future", "m", "r", None))
    assert type(decode_error(body)) is SkerryError
