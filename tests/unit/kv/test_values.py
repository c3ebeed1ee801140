import pytest

from skerry.errors import Conflict
from skerry.kv.values import add_to

TOP = 2**63 - 1


@pytest.mark.parametrize(
    "value, by, total",
    [(None, 1, 1), (b"0", 0, 0), (b"-5", 3, -2), (str(TOP - 1).encode(), 1, TOP),
     (str(-(2**63)).encode(), 0, -(2**63))],
)  # fmt: skip
def test_counters_add_up_to_64_bits(value, by, total):
    assert add_to(value, by) == total


@pytest.mark.parametrize(
    "value, by",
    [(str(TOP).encode(), 1), (b"9999999999999999999", -(2**63)), (b"01", 1), (b"-0", 1),
     (b"1\n", 1), (b"\xd9\xa3", 1), (b"1_0", 1)],
)  # fmt: skip
def test_what_redis_would_refuse_is_refused(value, by):
    with pytest.raises(Conflict):
        add_to(value, by)
