"""Prometheus' own parser reads /metrics, and the names in it are the documented ones."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from pictures import jpeg
from skerry.metrics import Metrics


def families(client: Any) -> dict[str, Any]:
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def test_the_parser_finds_every_metric_with_help_and_type(node: Any) -> None:
    with node.client() as client:
        client.post("/api/recognize", content=jpeg()).raise_for_status()
        found = families(client)
    for name, kind, text, labels in Metrics().described():
        family = found[name.removesuffix("_total")]
        assert (family.type, family.documentation) == (kind, text)
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(labels)


def test_the_guides_metrics_count_requests_and_inferences(node: Any) -> None:
    with node.client() as client:

        def counted() -> tuple[float, float]:
            found = families(client)
            requests = sum(
                sample.value
                for sample in found["requests"].samples
                if sample.labels.get("route") == "/api/recognize" and sample.name[-6:] == "_total"
            )
            inferences = sum(
                sample.value
                for sample in found["inference_duration_seconds"].samples
                if sample.name.endswith("_count")
            )
            return requests, inferences

        before = counted()
        for _ in range(3):
            client.post("/api/recognize", content=jpeg()).raise_for_status()
        client.post("/api/recognize", content=b"no image")
        after = counted()
    assert after == (before[0] + 4, before[1] + 3)


def test_labels_of_metrics_do_not_grow_with_what_clients_send(node: Any) -> None:
    with node.client() as client:

        def series() -> int:
            return sum(len(family.samples) for family in families(client).values())

        client.get("/no/such/path")
        client.request("FROB", "/api/images")
        client.get("/api/images/1")
        series()  # The first scrape is counted after it was written.
        before = series()
        for i in range(30):
            client.get(f"/no/such/path/{i}")
            client.request(f"FROB{i}", "/api/images")
            client.get(f"/api/images/{10**6 + i}")
        assert series() <= before + 2
