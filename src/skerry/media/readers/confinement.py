"""Take from this process what a reader of files never needs."""

from __future__ import annotations

import resource
import sys

from skerry.workers.priority import give_way


def confine() -> None:
    """Open no file or socket, start no process, write no core, for good; what is open stays open.

    A process that gets no new descriptors has no network and no files, whatever a parser is made
    to do, and needs no privilege for it. All code and charsets have to be loaded before.
    """
    give_way()
    for limit in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE):
        resource.setrlimit(limit, (0, 0))
    if hasattr(resource, "RLIMIT_NPROC"):
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def bound(*, memory_bytes: int, time_s: float) -> None:
    """Let this process have `memory_bytes` in all, and `time_s` of processor time from now.

    More memory is a MemoryError or the end of the process, more time is its end.
    """
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = int(used.ru_utime + used.ru_stime + time_s) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (until, hard))
    try:
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, hard))
    except (ValueError, OSError) as error:  # macOS does not bound address space
        print(f"Memory is not bounded here: {error}", file=sys.stderr)  # noqa: T201
