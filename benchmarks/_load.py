"""Send images to a URL from many clients, as fast as they are answered, and time the answers."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

BOUNDARY = "skerry-benchmark"
MULTIPART_HEAD = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{{field}}"; filename="photo.jpg"'
    "\r\nContent-Type: image/jpeg\r\n\r\n"
)
MULTIPART_TAIL = f"\r\n--{BOUNDARY}--\r\n"
LUA = """
local paths = {%(paths)s}
local head, tail = %(head)s, %(tail)s
local unique_every, mark = %(unique_every)d, "%(mark)s"
local bodies, ready, sent = {}, {}, 0

init = function()
  wrk.headers["Content-Type"] = "%(content_type)s"
  for at, path in ipairs(paths) do
    local file = assert(io.open(path, "rb"))
    bodies[at] = file:read("*a")
    file:close()
    ready[at] = wrk.format("POST", nil, nil, head .. bodies[at] .. tail)
  end
end

request = function()
  sent = sent + 1
  local at = (sent - 1) %% #ready + 1
  if unique_every > 0 and sent %% unique_every == 0 then
    return wrk.format("POST", nil, nil, head .. bodies[at] .. mark .. sent .. tail)
  end
  return ready[at]
end

done = function(summary, latency)
  local failed = summary.errors
  print(string.format(
    '{"requests":%%d,"seconds":%%f,"p50_ms":%%f,"p95_ms":%%f,"p99_ms":%%f,"failed":%%d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(95) / 1e3, latency:percentile(99) / 1e3,
    failed.connect + failed.read + failed.write + failed.status + failed.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What one burst of requests gave. `client_cpu_ms` is the client's own, per request.

    wrk's percentiles count requests that a slow answer kept it from sending (its correction for
    coordinated omission), so they are never too low; the mean is of what was sent.
    """

    requests: int
    seconds: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    failed: int
    mean_ms: float = 0.0
    client_cpu_ms: float = 0.0
    server_cpu_ms: float = 0.0

    @property
    def per_s(self) -> float:
        """Requests answered a second."""
        return self.requests / self.seconds


@dataclass(frozen=True, slots=True)
class Sender:
    """Which bodies go where: raw, or as a multipart field; every n-th made unique by a suffix."""

    url: str
    bodies: Sequence[Path]
    multipart_field: str = ""
    unique_every: int = 0
    content_type: str = "image/jpeg"

    def send(self, *, clients: int, seconds: int) -> Load:
        """One burst; SystemExit when requests failed, since then the rest means nothing."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with tempfile.TemporaryDirectory(prefix="skerry-load-") as folder:
            send = self._wrk if shutil.which("wrk") else self._sockets
            load = send(Path(folder), clients=clients, seconds=seconds)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if load.failed:
            raise SystemExit(f"{load.failed} of {load.requests} requests to {self.url} failed")
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        each = 1e3 / max(1, load.requests)
        # Little's law: every client always has one request under way.
        return replace(load, mean_ms=clients * load.seconds * each, client_cpu_ms=spent * each)

    def _order(self, *, mark: str) -> dict[str, Any]:
        field = self.multipart_field
        return {
            "paths": [str(path) for path in self.bodies],
            "head": MULTIPART_HEAD.format(field=field) if field else "",
            "tail": MULTIPART_TAIL if field else "",
            "content_type": f"multipart/form-data; boundary={BOUNDARY}"
            if field
            else self.content_type,
            "unique_every": self.unique_every,
            "mark": mark,
        }

    def _wrk(self, folder: Path, *, clients: int, seconds: int) -> Load:
        order = self._order(mark=folder.name)
        order["paths"] = ", ".join(json.dumps(path) for path in order["paths"])
        # JSON's escapes of these texts are Lua's too.
        order |= {name: json.dumps(order[name]) for name in ("head", "tail")}
        script = folder / "post.lua"
        script.write_text(LUA % order)
        command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "20s"]
        return _run([*command, "-s", str(script), self.url])

    def _sockets(self, folder: Path, *, clients: int, seconds: int) -> Load:
        print("  without wrk the load comes from Python, which takes more of the processor")
        order = self._order(mark=folder.name)
        order |= {"url": self.url, "clients": clients, "seconds": seconds}
        program = Path(__file__).resolve().with_name("_sockets.py")
        return _run([sys.executable, str(program), json.dumps(order)])


def _run(command: list[str]) -> Load:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not done.stdout.strip():
        raise SystemExit(f"{Path(command[0]).name} failed: {done.stderr or done.stdout}")
    return Load(**json.loads(done.stdout.strip().splitlines()[-1]))


def main() -> None:
    """Try it by hand: `python benchmarks/_load.py URL FILE...`."""
    url, *files = sys.argv[1:]
    print(Sender(url, [Path(file) for file in files]).send(clients=16, seconds=3))


if __name__ == "__main__":
    main()
