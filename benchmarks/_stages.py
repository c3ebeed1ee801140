"""Where a node's requests spent their time, out of its own metrics."""

from __future__ import annotations

from dataclasses import dataclass

from _processes import Service
from prometheus_client.parser import text_string_to_metric_families

METRIC = "skerry_stage_duration_seconds"


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Seconds and requests per stage since the node started."""

    seconds: dict[str, float]
    counts: dict[str, float]

    def mean_ms(self, *, since: StageTimes) -> dict[str, float]:
        """Milliseconds of a mean request per stage, for the requests after `since`."""
        return {
            stage: 1e3 * (self.seconds[stage] - since.seconds.get(stage, 0.0)) / requests
            for stage, count in self.counts.items()
            if (requests := count - since.counts.get(stage, 0.0)) > 0
        }


def stage_times(node: Service) -> StageTimes:
    """The stages as the node counts them now."""
    times = StageTimes({}, {})
    for family in text_string_to_metric_families(node.text("/metrics")):
        for sample in family.samples:
            if sample.name == f"{METRIC}_sum":
                times.seconds[sample.labels["stage"]] = sample.value
            if sample.name == f"{METRIC}_count":
                times.counts[sample.labels["stage"]] = sample.value
    return times
