"""Stage times and the Server-Timing header."""

from __future__ import annotations

import re

import pytest

from skerry.pipelines.stages import Stages


def test_server_timing_names_stages_in_their_order_and_the_total_last() -> None:
    stages = Stages()
    stages.add("search", 0.0003)
    stages.add("cache", 0.0001)
    header = stages.server_timing()
    assert re.fullmatch(r"cache;dur=0\.100, search;dur=0\.300, total;dur=\d+\.\d+", header)


def test_a_stage_that_fails_is_measured_too() -> None:
    stages = Stages()
    with pytest.raises(ValueError), stages.measure("decode"):
        raise ValueError
    assert "decode" in stages.seconds


def test_times_of_one_stage_add_up() -> None:
    stages = Stages()
    stages.add("decode", 0.001)
    stages.add("decode", 0.002)
    stages.add("queue", 0.004)
    assert stages.ms("decode", "queue", "inference") == 7.0
