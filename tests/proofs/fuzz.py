"""Send a node thousands of damaged requests: no 5xx, no hang, no growth.

Run from the repository's root: `python tests/proofs/fuzz.py --requests 5000`. A 503 with
Retry-After is no failure. Exit code 1 when an answer, the node's log or its memory shows one;
what was sent is then written beside the node's data.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mutations import Mutations, Request

from fast_model import ENVIRON, install_fast_model
from running_node import RunningNode, start_node, wait_for_texts
from tiny_encoder import install_tiny_encoder

AT_ONCE = 8
HANG_S = 20.0
WARM_UP = 0.3
# The allocator's own play over a run; 5,000 leaks of an image each would be some 40 MB.
GROWTH_MB = 24.0
ERROR_FIELDS = {"code", "message", "remedy", "request_id"}


@dataclass
class Proof:
    """The state of one run."""

    folder: Path
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    took_s: list[float] = field(default_factory=list)

    def failed(self, request: Request, what: str) -> None:
        """Note a failure and keep the request."""
        self.failures.append(what)
        kept = self.folder / f"request-{len(self.failures)}.txt"
        kept.write_text(repr(request))
        print(f"FAILURE: {what} (sent: {kept})", flush=True)


async def send(proof: Proof, node: RunningNode, http: httpx.AsyncClient, request: Request) -> None:
    """Send one request and look at its answer."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(HANG_S):
            if request.raw:
                await send_raw(proof, node, request)
            else:
                await send_http(proof, http, request)
    except TimeoutError:
        proof.failed(request, f"no answer within {HANG_S} s")
    proof.took_s.append(time.monotonic() - began)


async def send_http(proof: Proof, http: httpx.AsyncClient, request: Request) -> None:
    """A request that is whole as HTTP."""
    try:
        answer = await http.request(
            request.method,
            request.path,
            content=request.body,
            headers=list(request.headers.items()),
        )
    except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError) as error:
        return proof.failed(request, f"no answer: {error!r}")
    except httpx.InvalidURL:
        proof.counts["not sent"] += 1
        return None
    proof.counts[str(answer.status_code)] += 1
    if answer.status_code >= 500 and not (
        answer.status_code == 503 and "retry-after" in answer.headers
    ):
        return proof.failed(request, f"{answer.status_code}: {answer.text[:300]}")
    if answer.status_code >= 400:
        check_shape(proof, request, answer)
    elif request.path in ("/api/images", "/api/documents") and request.method == "POST":
        await forget(http, answer)
    return None


TEI_PATHS = {"/embed", "/predict", "/info"}


def check_shape(proof: Proof, request: Request, answer: httpx.Response) -> None:
    """Refusals have the contract's shape; an upload of several bad files has a result each."""
    try:
        body = answer.json()
    except ValueError:
        return proof.failed(request, f"{answer.status_code} is not JSON: {answer.text[:200]}")
    if request.path in TEI_PATHS:
        errors = [{**body, "message": body.get("error")}]
    elif "error" in body:
        errors = [body["error"]]
    else:
        results = body.get("images") or body.get("documents") or [{}]
        errors = [one["error"] for one in results]
    if not all(set(error) >= ERROR_FIELDS for error in errors):
        return proof.failed(request, f"{answer.status_code} has another shape: {body}")
    return None


async def forget(http: httpx.AsyncClient, answer: httpx.Response) -> None:
    """Delete what a lucky mutation stored: growth of the collection is not growth of the node."""
    told = answer.json()
    for image in told.get("images", ()):
        if image["status"] == "created":
            await http.delete(f"/api/images/{image['id']}")
    if ids := [one["id"] for one in told.get("documents", ())]:
        await http.post("/api/documents/delete", json={"ids": ids})


async def send_raw(proof: Proof, node: RunningNode, request: Request) -> None:
    """Bytes on a socket: an answer or a closed connection."""
    address = urlsplit(node.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    received = b""
    with suppress(ConnectionError):
        writer.write(request.raw)
        await writer.drain()
        writer.write_eof()
        received = await reader.read(65536)
    writer.close()
    status = received.split(b" ", 2)[1].decode("latin-1") if received.count(b" ") else "closed"
    proof.counts[f"raw {status}"] += 1
    if status.startswith("5") and status != "503":
        proof.failed(request, f"raw: {received[:300]!r}")


def memory_mb(node: RunningNode) -> float:
    """Resident memory of the node and its workers."""
    process = psutil.Process(node.process.pid)
    return sum(p.memory_info().rss for p in [process, *process.children(recursive=True)]) / 2**20


async def fuzz(proof: Proof, node: RunningNode, *, requests: int, seed: int) -> tuple[float, float]:
    """Send them all; memory after the warm-up and at the end, in MB."""
    supply = Mutations(seed)
    warm = int(requests * WARM_UP)
    limits = httpx.Limits(max_connections=AT_ONCE)
    before = 0.0
    async with httpx.AsyncClient(
        base_url=node.url, timeout=None, trust_env=False, limits=limits
    ) as http:
        for start in range(0, requests, AT_ONCE):
            if start >= warm and not before:
                before = memory_mb(node)
            batch = [supply.next() for _ in range(min(AT_ONCE, requests - start))]
            await asyncio.gather(*(send(proof, node, http, request) for request in batch))
            if start % 1000 < AT_ONCE:
                print(f"{start} sent, {memory_mb(node):.1f} MB", flush=True)
    return before, memory_mb(node)


def check_node(proof: Proof, node: RunningNode) -> None:
    """After it all the node is well, and met nothing that it did not foresee."""
    with node.client() as client:
        if client.get("/readyz").status_code != 200:
            proof.failed(Request(), f"not ready: {client.get('/readyz').text}")
        restarts = client.get("/metrics").text.count("skerry_worker_restarts_total{")
        if restarts and 'skerry_worker_restarts_total{worker="vectors"} 0.0' not in (
            client.get("/metrics").text
        ):
            proof.failed(Request(), "the vector worker died")
    log = node.log.read_text("utf-8", "replace")
    if "Traceback" in log or "Unhandled" in log:
        proof.failed(Request(), f"the log has a traceback: {log[-3000:]}")


def main() -> int:
    """Run the proof; 0 when nothing failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    arguments = parser.parse_args()
    proof = Proof(Path(tempfile.mkdtemp(prefix="skerry-fuzz-")))
    models = install_fast_model(proof.folder / "models")
    embedding = models / "tiny-encoder"
    embedding.mkdir()
    install_tiny_encoder(embedding)
    environ = {
        **ENVIRON,
        "SKERRY_CACHE_MAX_BYTES": str(1 << 20),
        "SKERRY_MODELS_EMBEDDING": embedding.name,
    }
    node = start_node(proof.folder / "data", models=models, environ=environ)
    wait_for_texts(node)
    began = time.monotonic()
    try:
        before, after = asyncio.run(
            fuzz(proof, node, requests=arguments.requests, seed=arguments.seed)
        )
        check_node(proof, node)
        cpu_s = sum(psutil.Process(node.process.pid).cpu_times()[:2])
    finally:
        node.kill()
    if after - before > GROWTH_MB:
        proof.failed(Request(), f"memory grew from {before:.1f} to {after:.1f} MB")
    slowest = sorted(proof.took_s)
    report = {
        "requests": arguments.requests,
        "seed": arguments.seed,
        "seconds": round(time.monotonic() - began, 1),
        "failures": len(proof.failures),
        "memory_mb after warm-up": round(before, 1),
        "memory_mb at the end": round(after, 1),
        "node_cpu_s": round(cpu_s, 1),
        "p50_s": round(slowest[len(slowest) // 2], 3),
        "p99_s": round(slowest[int(len(slowest) * 0.99)], 3),
        "slowest_s": round(slowest[-1], 3),
        "answers": dict(sorted(proof.counts.items())),
    }
    print(json.dumps(report, indent=1))
    if proof.failures:
        print(f"Kept: {proof.folder}", file=sys.stderr)
        return 1
    shutil.rmtree(proof.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
