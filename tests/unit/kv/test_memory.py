import tracemalloc

from skerry.kv.memory import MemoryOptions, MemoryStore


async def test_bound_covers_what_python_really_spends():
    """Small values, where the overhead weighs most."""
    limit = 4_000_000
    store = MemoryStore(MemoryOptions(max_bytes=limit))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for index in range(30_000):
        await store.set(f"features:{index:064}", index.to_bytes(100), ttl_s=3600)
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert 0.5 * limit < used < 1.3 * limit


async def test_writing_one_key_again_and_again_takes_no_more_memory():
    store = MemoryStore(MemoryOptions())
    await store.set("a", b"", ttl_s=3600)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(20_000):
        await store.set("a", b"x" * 100, ttl_s=3600)
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert used < 50_000


async def test_tokens_of_a_later_run_are_larger():
    first = await MemoryStore(MemoryOptions()).acquire("job", ttl_s=60)
    second = await MemoryStore(MemoryOptions()).acquire("job", ttl_s=60)
    assert second.token > first.token
