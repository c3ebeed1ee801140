"""kill -9 a node or its vector worker amid adds, deletes and rebuilds; check what it then holds.

Run from the repository's root: `python tests/proofs/crash.py --rounds 100`. Exit code 1, and the
data folder kept, when an acknowledged image is lost or doubled, a deleted one is back, or rows,
files and vectors disagree.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import sys
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from kill_rounds import KillProof, prove, shares
from ledger import Image, Ledger

from fast_model import ENVIRON, install_fast_model
from running_node import RunningNode, start_node

KEPT = 60
NEAR = 0.9999
SAMPLE = 40
CATCH_UP_S = 30.0


@dataclass
class Proof(KillProof):
    """The state of one run over images."""

    ledger: Ledger = field(default_factory=Ledger)

    def start(self, *, ready: bool = True) -> RunningNode:
        """A node over the same data folder as before."""
        models = install_fast_model(self.folder / "models")
        return start_node(self.folder / "data", models=models, environ=ENVIRON, ready=ready)

    def trim(self, node: RunningNode) -> None:
        """Delete some, so that the hundredth round is as quick as the first."""
        with node.client() as client:
            for image in self.ledger.forget_some(keep=KEPT):
                client.delete(f"/api/images/{image.id}").raise_for_status()
                image.lose()

    def clients(self, http: httpx.AsyncClient) -> list[Coroutine[Any, Any, None]]:
        """Clients with images of their own, and one that has the index rebuilt."""
        settled = [image for image in self.ledger.images if not image.pending]
        workers = [Client(self, http, mine).work() for mine in shares(settled)]
        return [*workers, rebuilds(self, http)]

    def check(self, node: RunningNode, *, everything: bool) -> None:
        """Hold the node's rows, files, vectors and searches against the ledger."""
        open_before = [image for image in self.ledger.images if image.pending]
        with node.client() as client:
            rows = all_rows(self, client)
            for message in self.ledger.settle(rows):
                self.wrong(message)
            images = self.ledger.images
            if not everything:
                others = random.sample(images, min(SAMPLE, len(images)))
                images = list(dict.fromkeys([*open_before, *others]))
            for image in images:
                check_image(self, client, image)
            check_counts(self, client, node, rows)
        self.counts["images checked"] += len(images)

    def stored(self) -> int:
        """How many are stored now."""
        return len(self.ledger.stored())

    def sent(self) -> int:
        """How many were ever sent."""
        return len(self.ledger.images)


class Client:
    """One client: adds, patches and deletes images of its own, one at a time."""

    def __init__(self, proof: Proof, http: httpx.AsyncClient, mine: list[Image]) -> None:
        self._proof = proof
        self._http = http
        self._mine = mine

    async def work(self) -> None:
        """Go on until the node is gone."""
        with suppress(httpx.TransportError):
            while True:
                await self._step()

    async def _step(self) -> None:
        stored = [image for image in self._mine if image.id is not None]
        gone = [image for image in self._mine if image.id is None]
        choice = random.random()
        if stored and choice < 0.2:
            await self._patch(random.choice(stored))
        elif stored and choice < 0.45:
            await self._delete(random.choice(stored))
        elif gone and choice < 0.55:
            await self._add(random.choice(gone))
        else:
            image = self._proof.ledger.new_image()
            self._mine.append(image)
            await self._add(image)

    async def _add(self, image: Image) -> None:
        image.pending = "add"
        answer = await self._send("POST", "/api/images", content=image.data)
        if answer.status_code not in (200, 201):
            self._refused(image, answer)
            return
        result = answer.json()["images"][0]
        if answer.status_code == 200 or result["id"] in image.former_ids:
            self._proof.wrong(f"{image.digest} was absent, and the node says {result}")
        image.id, image.version, image.pending = result["id"], 0, ""
        if random.random() < 0.3:
            await self._find(image)

    async def _patch(self, image: Image) -> None:
        image.pending = "patch"
        tags = {"version": image.version + 1}
        answer = await self._send("PATCH", f"/api/images/{image.id}", json={"tags": tags})
        if answer.status_code != 200:
            self._refused(image, answer)
            return
        image.version, image.pending = image.version + 1, ""

    async def _delete(self, image: Image) -> None:
        image.pending = "delete"
        answer = await self._send("DELETE", f"/api/images/{image.id}")
        if answer.status_code != 204:
            self._refused(image, answer)
            return
        image.lose()

    async def _find(self, image: Image) -> None:
        answer = await self._send("POST", "/api/images/search", files={"file": ("x", image.data)})
        if answer.status_code == 200:
            check_found(self._proof, image, answer.json()["similar_images"], "under load")

    async def _send(self, method: str, path: str, **body: Any) -> httpx.Response:
        answer = await self._http.request(method, path, **body)
        self._proof.counts[f"{method} {answer.status_code}"] += 1
        return answer

    def _refused(self, image: Image, answer: httpx.Response) -> None:
        """A 503 promises nothing, so the image is left alone; whatever else is a violation."""
        self._mine.remove(image)
        if answer.status_code != 503:
            self._proof.wrong(f"{image.pending} was answered {answer.status_code}: {answer.text}")


def check_found(proof: Proof, image: Image, matches: list[dict[str, Any]], when: str) -> None:
    """A search for the image's own bytes has it, whole, or not at all when it is not stored."""
    found = {match["id"]: match["similarity_score"] for match in matches}
    if image.id is not None and found.get(image.id, 0.0) < NEAR:
        proof.wrong(f"{image.digest} ({image.id}) is not found by itself {when}: {found}")
    for former in image.former_ids & found.keys():
        proof.wrong(f"{image.digest} was deleted as {former}, and is found {when}")


async def rebuilds(proof: Proof, http: httpx.AsyncClient) -> None:
    """Now and then the index is built anew beneath the work."""
    with suppress(httpx.TransportError):
        while True:
            await asyncio.sleep(random.expovariate(1.5))
            answer = await http.post("/api/index/rebuild")
            proof.counts[f"rebuild {answer.status_code}"] += 1
            if answer.status_code not in (202, 409, 503):
                proof.wrong(f"rebuild was answered {answer.status_code}: {answer.text}")


def all_rows(proof: Proof, client: httpx.Client) -> dict[str, dict[str, Any]]:
    """Every listed row by digest; none may stand twice."""
    rows: dict[str, dict[str, Any]] = {}
    query: dict[str, Any] = {"limit": 37}
    seen = 0
    while True:
        page = client.get("/api/images", params=query).json()
        for row in page["images"]:
            seen += 1
            if row["sha256"] in rows:
                proof.wrong(f"{row['sha256']} stands twice in the list")
            rows[row["sha256"]] = row
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    if page["total"] != seen:
        proof.wrong(f"the list has {seen} images, its total is {page['total']}")
    return rows


def check_image(proof: Proof, client: httpx.Client, image: Image) -> None:
    """One image: row, file and search agree with each other and with the ledger."""
    reference = image.digest if image.id is None else image.id
    row = client.get(f"/api/images/{reference}")
    file = client.get(f"/api/images/{image.digest}/file")
    expected = 404 if image.id is None else 200
    if (row.status_code, file.status_code) != (expected, expected):
        proof.wrong(f"{image.digest}: row {row.status_code}, file {file.status_code}, {expected}")
    elif expected == 200 and hashlib.sha256(file.content).hexdigest() != image.digest:
        proof.wrong(f"{image.digest}: the file has other bytes")
    for former in image.former_ids:
        if client.get(f"/api/images/{former}").status_code != 404:
            proof.wrong(f"{image.digest} was deleted as {former}, and is there")
    search = client.post("/api/images/search", files={"file": ("x", image.data)})
    if search.status_code != 200:
        proof.wrong(f"a search was answered {search.status_code}: {search.text}")
    else:
        check_found(proof, image, search.json()["similar_images"], "after the crash")


def check_counts(
    proof: Proof, client: httpx.Client, node: RunningNode, rows: dict[str, dict[str, Any]]
) -> None:
    """As many vectors as rows once the index has caught up, and exactly the rows' files."""
    end = time.monotonic() + CATCH_UP_S
    while True:
        index = client.get("/api/status").json()["index"]
        if (index["lag"] == 0 and index["state"] == "ready") or time.monotonic() > end:
            break
        time.sleep(0.02)
    if (index["points"], index["lag"]) != (len(rows), 0):
        proof.wrong(f"{len(rows)} rows, and the index says {index}")
    files = {path.name for path in (node.data / "blobs").glob("[0-9a-f][0-9a-f]/*")}
    if files != rows.keys():
        lost, left = rows.keys() - files, files - rows.keys()
        proof.wrong(f"files lost: {sorted(lost)}, left over: {sorted(left)}")
    if left := list((node.data / "blobs" / "incoming").iterdir()):
        proof.wrong(f"half-written files are left: {left}")


if __name__ == "__main__":
    sys.exit(prove(Proof, things="images", rounds=100, about=__doc__))
