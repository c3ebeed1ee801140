"""Reads, changes and deletes of one image at the same moment: each sees it whole, or not at all."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
from calls import part

from pictures import jpeg
from running_node import RunningNode

StartNode = Callable[..., RunningNode]
HAMMER_S = 3.0


def test_reads_that_meet_deletes_find_the_image_whole_or_not_at_all(fast_node: StartNode) -> None:
    node = fast_node()
    photos = [jpeg(size=(300, 200)) for _ in range(4)]
    wrong: list[str] = []
    seen: Counter[str] = Counter()
    with node.client(limits=httpx.Limits(max_connections=20)) as client:
        ids: list[list[int]] = [[10**9] for _ in photos]
        began = time.monotonic()

        def going() -> bool:
            """For a while, and on until each kind of race was run, but not for ever."""
            met = min(seen["file 200"], seen["file 404"], seen["thumbnail 200"])
            return time.monotonic() - began < (HAMMER_S if met else 30.0)

        def note(what: str, answer: httpx.Response, *allowed: int) -> None:
            seen[f"{what} {answer.status_code}"] += 1
            if answer.status_code not in allowed:
                wrong.append(f"{what}: {answer.status_code} {answer.text[:200]}")

        def write() -> None:
            while going():
                which = random.randrange(len(photos))
                answer = client.post("/api/images", files=[part(photos[which])])
                note("add", answer, 200, 201)
                ids[which].append(answer.json()["images"][0]["id"])
                time.sleep(random.uniform(0, 0.05))
                note("delete", client.delete(f"/api/images/{ids[which][-1]}"), 204, 404)

        def read() -> None:
            while going():
                which = random.randrange(len(photos))
                path = f"/api/images/{ids[which][-1]}"
                file = client.get(f"{path}/file")
                note("file", file, 200, 404)
                if file.status_code == 200 and file.content != photos[which]:
                    wrong.append("a file of other bytes")
                note("thumbnail", client.get(f"{path}/thumbnail"), 200, 404)
                note("patch", client.patch(path, json={"tags": {"a": 1}}), 200, 404)
                found = client.post("/api/images/search", files=[part(photos[which])])
                note("search", found, 200)
                like = client.post("/api/images/search", json={"id": ids[which][-1]})
                note("like", like, 200, 404)

        threads = [threading.Thread(target=run) for run in (write, write, *[read] * 6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong, wrong[:10]
        assert min(seen["file 200"], seen["file 404"], seen["thumbnail 200"]) > 0, seen
        status: dict[str, Any] = client.get("/api/status").json()
        while status["index"]["lag"]:  # the test's own time limit ends it
            status = client.get("/api/status").json()
        assert status["index"]["points"] == status["images"]
