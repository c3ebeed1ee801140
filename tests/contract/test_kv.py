"""One suite over every key-value store; Redis is a real server."""

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from skerry.backends import open_backend
from skerry.errors import (
    BadRequest,
    ConfigError,
    Conflict,
    PayloadTooLarge,
    StorageFull,
    StoreUnavailable,
)
from skerry.kv.base import KeyValueStore, Lease

Open = Callable[..., KeyValueStore]


def start_redis(folder: Path, *options: str, port: int = 0) -> tuple[subprocess.Popen, str]:
    """A server on `port`, or on a free one, that answers; and its URL."""
    executable = shutil.which("redis-server")
    if executable is None:
        pytest.skip("redis-server is not installed")
    for _ in range(5):
        port = port or free_port()
        command = [executable, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        process = subprocess.Popen(
            [*command, "--dir", str(folder), *options], stdout=subprocess.DEVNULL
        )
        while process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                time.sleep(0.01)
            else:
                return process, f"redis://127.0.0.1:{port}/0"
        port = 0  # another program was quicker
    raise AssertionError("redis-server does not start")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def stop(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process, url = start_redis(tmp_path_factory.mktemp("redis"))
    yield url
    stop(process)


@pytest.fixture(params=["memory", "sqlite", "redis"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def settings(kind: str, request: pytest.FixtureRequest) -> dict:
    if kind != "redis":
        return {"type": kind}
    # A prefix of its own for each test: the server is shared.
    url = request.getfixturevalue("redis_url")
    return {"type": kind, "url": url, "prefix": f"{request.node.name}:"}


@pytest.fixture
async def open_store(settings: dict, tmp_path: Path) -> AsyncIterator[Open]:
    opened: list[KeyValueStore] = []

    def open_store(**options: object) -> KeyValueStore:
        opened.append(open_backend("kv", settings | options, folder=tmp_path))
        return opened[-1]

    yield open_store
    for store in opened:
        await store.close()


@pytest.fixture
def store(open_store: Open) -> KeyValueStore:
    return open_store()


async def until(condition: Callable[[], object], *, seconds: float = 5) -> None:
    """Wait for what must come to pass, as long as it may take."""
    end = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < end, "it did not come to pass"
        await asyncio.sleep(0.005)


async def is_gone(store: KeyValueStore, key: str) -> bool:
    return await store.get(key) is None


# ---- values


async def test_what_was_set_is_got_and_what_was_deleted_is_not(store):
    assert await store.get("a") is None
    await store.set("a", b"1")
    await store.set("a", b"2")
    assert await store.get("a") == b"2"
    assert await store.delete("a") is True
    assert await store.delete("a") is False
    assert await store.get("a") is None


@pytest.mark.parametrize("value", [b"", b"\x00\xff\x00", bytes(range(256)) * 4000])
async def test_any_bytes_are_a_value(store, value):
    await store.set("a", value)
    assert await store.get("a") == value


async def test_keys_of_any_text_stay_apart(store):
    names = [
        "",
        "a",
        "a\x00",
        "a\x00b",
        "A",
        "\u00e9",
        "e\u0301",
        "😀",
        "a*",
        "a?",
        "[a]",
        "a\\",
        "a b\n",
    ]
    for index, name in enumerate(names):
        await store.set(name, str(index).encode())
    for index, name in enumerate(names):
        assert await store.get(name) == str(index).encode(), name
    assert await store.keys() == sorted(names)


async def test_keys_of_a_prefix_are_taken_literally_and_sorted(store):
    for name in [
        "a:2",
        "a:1",
        "a*1",
        "a:",
        "b:1",
        "a\x00:1",
        "\uffff",
        "\U0010ffff",
        "\U0010ffffx",
    ]:
        await store.set(name, b"")
    assert await store.keys("a:") == ["a:", "a:1", "a:2"]
    assert await store.keys("a*") == ["a*1"]
    assert await store.keys("a\x00") == ["a\x00:1"]
    assert await store.keys("\U0010ffff") == ["\U0010ffff", "\U0010ffffx"]
    assert await store.keys("none") == []


async def test_clear_removes_the_keys_of_a_prefix_and_counts_them(store):
    for index in range(1200):
        await store.set(f"a{index}", b"")
    await store.set("b", b"")
    assert await store.clear("a") == 1200
    assert await store.keys() == ["b"]
    assert await store.clear() == 1
    assert await store.clear() == 0


async def test_key_that_is_no_text_or_too_long_is_refused(store):
    for key in ("\ud800", "x" * 20_000):
        with pytest.raises(BadRequest):
            await store.set(key, b"")
        with pytest.raises(BadRequest):
            await store.get(key)


async def test_value_over_the_bound_is_refused_and_the_old_one_stays(open_store):
    store = open_store(max_value_bytes=1000)
    await store.set("a", b"x" * 1000)
    with pytest.raises(PayloadTooLarge, match="1001"):
        await store.set("a", b"y" * 1001)
    with pytest.raises(PayloadTooLarge):
        await store.compare_and_set("a", expected=b"x" * 1000, value=b"y" * 1001)
    assert await store.get("a") == b"x" * 1000


# ---- time to live


async def test_value_ends_with_its_time_to_live(store):
    await store.set("a", b"1", ttl_s=0.05)
    await store.set("b", b"1")
    await until(lambda: is_gone(store, "a"))
    assert await store.keys() == ["b"]
    assert await store.delete("a") is False
    assert await store.increment("a") == 1
    assert await store.get("b") == b"1"


async def test_set_anew_replaces_the_time_to_live(store):
    await store.set("kept", b"1", ttl_s=0.05)
    await store.set("kept", b"2")
    await store.set("ended", b"1")
    await store.set("ended", b"2", ttl_s=0.05)
    await until(lambda: is_gone(store, "ended"))
    await asyncio.sleep(0.05)
    assert await store.get("kept") == b"2"


async def test_increment_leaves_the_time_to_live(store):
    await store.set("a", b"5", ttl_s=0.2)
    assert await store.increment("a") == 6
    await until(lambda: is_gone(store, "a"))


@pytest.mark.parametrize("ttl_s", [0, -1, float("nan"), float("inf"), 1e30])
async def test_time_to_live_that_is_none_is_refused(store, ttl_s):
    with pytest.raises(BadRequest):
        await store.set("a", b"", ttl_s=ttl_s)
    with pytest.raises(BadRequest):
        await store.acquire("a", ttl_s=ttl_s)
    assert await store.keys() == []


# ---- counters and compare-and-set


async def test_counter_starts_at_zero_and_goes_both_ways(store):
    assert await store.increment("n") == 1
    assert await store.increment("n", 41) == 42
    assert await store.increment("n", -50) == -8
    assert await store.get("n") == b"-8"


@pytest.mark.parametrize("value", [b"x", b"", b"1.5", b" 1", b"+1", b"9223372036854775807"])
async def test_counter_that_is_no_integer_or_would_overflow_is_a_conflict(store, value):
    await store.set("n", value)
    with pytest.raises(Conflict):
        await store.increment("n")
    assert await store.get("n") == value
    with pytest.raises(Conflict):
        await store.increment("m", 2**63)


async def test_concurrent_increments_lose_none(store):
    sums = await asyncio.gather(*(store.increment("n") for _ in range(200)))
    assert sorted(sums) == list(range(1, 201))


async def test_compare_and_set_stores_only_over_what_is_expected(store):
    swap = store.compare_and_set
    assert not await swap("a", expected=b"1", value=b"2")
    assert not await swap("a", expected=b"", value=b"2")
    assert await swap("a", expected=None, value=b"")
    assert not await swap("a", expected=None, value=b"2")
    assert await swap("a", expected=b"", value=b"\x00", ttl_s=60)
    assert await swap("a", expected=b"\x00", value=b"end", ttl_s=0.05)
    await until(lambda: is_gone(store, "a"))


async def test_of_many_who_compare_and_set_one_wins(store):
    results = await asyncio.gather(
        *(store.compare_and_set("a", expected=None, value=str(i).encode()) for i in range(50))
    )
    assert results.count(True) == 1
    assert await store.get("a") == str(results.index(True)).encode()


# ---- locks


async def test_lock_is_held_by_one_and_tokens_grow(store):
    first = await store.acquire("job", ttl_s=60)
    assert first is not None
    assert await store.acquire("job", ttl_s=60) is None
    assert await store.acquire("other", ttl_s=60) is not None
    assert await store.release(first) is True
    assert await store.release(first) is False
    second = await store.acquire("job", ttl_s=60)
    assert second is not None and second.token > first.token


async def test_expired_lock_passes_on_and_its_late_holder_cannot_free_it(store):
    first = await store.acquire("job", ttl_s=0.05)
    leases: list[Lease] = []

    async def taken() -> bool:
        lease = await store.acquire("job", ttl_s=60)
        leases.extend([lease] if lease else [])
        return bool(leases)

    await until(taken)
    assert leases[0].token > first.token
    assert await store.release(first) is False
    assert await store.acquire("job", ttl_s=60) is None


async def test_of_many_who_want_the_lock_one_gets_it(store):
    leases = await asyncio.gather(*(store.acquire("job", ttl_s=60) for _ in range(50)))
    assert sum(lease is not None for lease in leases) == 1


async def test_locks_and_values_do_not_meet(store):
    lease = await store.acquire("x", ttl_s=60)
    assert await store.keys() == []
    assert await store.clear() == 0
    await store.set("x", b"1")
    assert await store.release(lease)
    again = await store.acquire("x", ttl_s=60)
    assert again.token > lease.token


# ---- bounds, restarts, other processes


@pytest.mark.parametrize("kind", ["memory", "sqlite"], indirect=True)
async def test_full_store_drops_what_has_a_time_to_live_and_refuses_what_has_none(open_store):
    store = open_store(max_bytes=2_000_000)
    await store.set("kept", b"k" * 1000)
    for index in range(400):
        await store.set(f"passing{index:03}", b"p" * 10_000, ttl_s=60 + index)
    passing = await store.keys("passing")
    assert 50 < len(passing) < 200
    assert passing[-1] == "passing399"
    assert await store.get("kept") == b"k" * 1000
    with pytest.raises(StorageFull) as caught:
        for index in range(400):
            await store.set(f"lasting{index}", b"l" * 10_000)
    assert "max_bytes" in caught.value.remedy
    assert await store.keys("passing") == []
    lasting = await store.keys("lasting")
    assert len(lasting) > 50
    await store.delete(lasting[0])
    await store.set("again", b"l" * 9_000)
    assert await store.get("kept") == b"k" * 1000


async def test_memory_store_drops_the_least_recently_used_first(tmp_path):
    store = open_backend("kv", {"type": "memory", "max_bytes": 10_000}, folder=tmp_path)
    for index in range(5):
        await store.set(str(index), b"x" * 1200, ttl_s=60)
    await store.get("0")
    for index in range(5, 8):
        await store.set(str(index), b"x" * 1200, ttl_s=60)
    keys = await store.keys()
    assert "0" in keys and "1" not in keys


@pytest.mark.parametrize("kind", ["sqlite", "redis"], indirect=True)
async def test_values_counters_and_tokens_survive_opening_again(open_store):
    store = open_store()
    await store.set("a", b"1")
    await store.set("t", b"1", ttl_s=60)
    lease = await store.acquire("job", ttl_s=60)
    await store.release(lease)
    await store.close()
    again = open_store()
    assert await again.keys() == ["a", "t"]
    later = await again.acquire("job", ttl_s=60)
    assert later.token > lease.token


PROCESS = """
import asyncio, json, sys
from pathlib import Path
from skerry.backends import open_backend

async def main(settings, folder):
    store = open_backend("kv", settings, folder=Path(folder))
    print("ready", flush=True)
    sys.stdin.readline()
    held = 0
    for _ in range(100):
        await store.increment("n")
        lease = await store.acquire("job", ttl_s=60)
        if lease:
            # Alone between acquire and release: reads and writes are not torn apart.
            value = int(await store.get("sum") or 0)
            await store.set("sum", str(value + 1).encode())
            held += 1
            assert await store.release(lease)
    await store.close()
    print(held)

asyncio.run(main(json.loads(sys.argv[1]), sys.argv[2]))
"""


@pytest.mark.parametrize("kind", ["sqlite", "redis"], indirect=True)
async def test_two_processes_lose_no_increment_and_exclude_each_other(
    open_store, settings, tmp_path
):
    store = open_store()
    command = [sys.executable, "-c", PROCESS, json.dumps(settings), str(tmp_path)]
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe) for _ in range(2)
    ]
    for process in processes:
        assert await process.stdout.readline() == b"ready\n"
    held = [int((await process.communicate(b"\n"))[0]) for process in processes]
    assert await store.get("n") == b"200"
    assert int(await store.get("sum")) == sum(held)


# ---- trouble


async def test_closed_sqlite_store_says_so(tmp_path):
    store = open_backend("kv", {"type": "sqlite"}, folder=tmp_path)
    await store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.get("a")
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.set("a", b"")


def test_sqlite_file_that_is_damaged_is_named(tmp_path):
    (tmp_path / "kv.db").write_bytes(b"nothing like a database " * 100)
    with pytest.raises(StoreUnavailable, match=r"kv\.db"):
        open_backend("kv", {"type": "sqlite"}, folder=tmp_path)


async def test_redis_that_is_not_there_is_unavailable_at_once(tmp_path):
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    store = open_backend("kv", {"type": "redis", "url": url}, folder=tmp_path)
    started = time.monotonic()
    calls = [
        store.get("a"), store.set("a", b""), store.keys(), store.increment("a"),
        store.compare_and_set("a", expected=None, value=b""), store.acquire("a", ttl_s=1),
        store.release(Lease("a", 1)), store.clear(), store.delete("a"),
    ]  # fmt: skip
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert time.monotonic() - started < 2
    assert all(isinstance(result, StoreUnavailable) for result in results), results
    assert str(port) in results[0].message and results[0].remedy
    await store.close()


async def test_redis_that_does_not_answer_is_unavailable_within_its_timeout(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        options = {"type": "redis", "url": url, "timeout_s": 0.1}
        store = open_backend("kv", options, folder=tmp_path)
        started = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await store.get("a")
        assert time.monotonic() - started < 2
        await store.close()


async def test_redis_that_went_away_and_came_back_is_used_again(tmp_path):
    process, url = start_redis(tmp_path)
    store = open_backend("kv", {"type": "redis", "url": url}, folder=tmp_path)
    await store.set("a", b"1")
    stop(process)
    with pytest.raises(StoreUnavailable):
        await store.get("a")
    again, _ = start_redis(tmp_path, port=int(url.split(":")[2].split("/")[0]))

    async def answers() -> bool:
        try:
            await store.set("a", b"2")
        except StoreUnavailable:
            return False
        return True

    await until(answers)
    assert await store.get("a") == b"2"
    await store.close()
    stop(again)


async def test_redis_out_of_memory_is_a_full_store(tmp_path):
    process, url = start_redis(tmp_path, "--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
    store = open_backend("kv", {"type": "redis", "url": url}, folder=tmp_path)
    with pytest.raises(StorageFull):
        for index in range(100):
            await store.set(str(index), b"x" * 100_000)
    await store.close()
    stop(process)


async def test_redis_password_is_never_shown(tmp_path):
    process, url = start_redis(tmp_path, "--requirepass", "right")
    wrong = url.replace("redis://", "redis://:hunter2@")
    store = open_backend("kv", {"type": "redis", "url": wrong}, folder=tmp_path)
    with pytest.raises(StoreUnavailable) as caught:
        await store.get("a")
    assert "hunter2" not in caught.value.message
    await store.close()
    stop(process)


@pytest.mark.parametrize("url", ["", "http://x", "redis://h:port/0", "nonsense"])
def test_redis_url_that_cannot_be_used_is_a_setting_to_mend(url, tmp_path):
    with pytest.raises(ConfigError):
        open_backend("kv", {"type": "redis", "url": url}, folder=tmp_path)


def test_option_of_another_store_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="url"):
        open_backend("kv", {"type": "memory", "url": "redis://x"}, folder=tmp_path)
