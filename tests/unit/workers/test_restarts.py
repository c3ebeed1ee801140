import pytest

from skerry.errors import ModelUnavailable
from skerry.workers.restarts import LONGEST_WAIT_S, Restarts


def test_waits_grow_with_failures_in_a_row_and_end_with_a_success() -> None:
    now = [0.0]
    restarts = Restarts("m", clock=lambda: now[0])
    restarts.failed(ValueError("broken"))
    restarts.check()
    waits = []
    for _ in range(10):
        restarts.failed(ValueError("broken"))
        with pytest.raises(ModelUnavailable, match="broken") as refused:
            restarts.check()
        assert refused.value.retry_after_s is not None
        waits.append(refused.value.retry_after_s)
        now[0] += refused.value.retry_after_s
        restarts.check()
    assert waits[:4] == [1, 2, 4, 8]
    assert waits[-1] == LONGEST_WAIT_S
    restarts.succeeded()
    restarts.failed(ValueError("again"))
    restarts.check()
