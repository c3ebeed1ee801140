"""The calls that most tests make, and the shape that every refusal must have."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import httpx

from pictures import jpeg


def unique(prefix: str = "who") -> str:
    """A name that keeps one test's images apart from the others'."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def part(data: bytes, name: str = "photo.jpg", kind: str = "image/jpeg") -> tuple[str, Any]:
    """One multipart field `file`."""
    return ("file", (name, data, kind))


def store(client: httpx.Client, data: bytes | None = None, **fields: str) -> dict[str, Any]:
    """Store one image and give its object."""
    answer = client.post("/api/images", files=[part(data or jpeg())], data=fields)
    assert answer.status_code == 201, answer.text
    image = answer.json()["images"][0]
    assert image.pop("status") == "created"
    return image


OWN = {"code", "message", "remedy", "request_id"}
TEI_PATHS = {"/embed", "/predict", "/info"}


def refused(answer: httpx.Response, *statuses: int, before_routing: bool = False) -> dict[str, str]:
    """Check that the answer is one of these errors, in its protocol's shape; its content.

    What is refused before any route is known has the native shape.
    """
    assert answer.status_code in statuses, (answer.status_code, answer.text[:500])
    assert answer.headers["content-type"] == "application/json"
    path = "" if before_routing else answer.request.url.path
    if path in TEI_PATHS:
        error = answer.json()
        assert set(error) == OWN - {"message"} | {"error", "error_type"}
        error["message"] = error["error"]
    else:
        error = answer.json()["error"]
        assert set(error) == OWN | ({"type", "param"} if path.startswith("/v1/") else set())
    assert error["request_id"] == answer.headers["x-request-id"]
    assert error["message"]
    assert "Traceback" not in answer.text
    return error


def memory_kb(pid: int, field: str = "VmRSS") -> int:
    """A figure of /proc/PID/status, in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(field))


def metric(client: httpx.Client, name: str, **labels: str) -> float:
    """The sum of a metric's samples that carry these labels; 0 when there is none."""
    from prometheus_client.parser import text_string_to_metric_families

    text = client.get("/metrics").text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )
