"""The memory limit: enforced before a model is loaded, by unloading idle ones first."""

import asyncio
import time

import pytest

from skerry.errors import MemoryLimitReached
from skerry.metrics import Metrics
from skerry.pipelines.budget import Idle, MemoryBudget, machine_bytes

MIB = 1 << 20


class Models:
    """Loaded models of a budget; those that are idle can be unloaded."""

    def __init__(self, budget):
        self.budget, self.idle_models, self.unloaded = budget, {}, []
        self.failing = None
        budget.watch(self)

    def leave(self, name, *, used=0.0, spared=False):
        self.idle_models[name] = Idle(name, used, spared, lambda: self.unload(name))

    def idle(self):
        return list(self.idle_models.values())

    async def unload(self, name):
        await asyncio.sleep(0)
        del self.idle_models[name]
        self.budget.give_back(name)
        self.unloaded.append(name)
        if name == self.failing:
            raise OSError("its process was gone")


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def budget(metrics):
    return MemoryBudget(100 * MIB, metrics=metrics, patience_s=0.05)


@pytest.fixture
def models(budget):
    return Models(budget)


async def test_a_model_that_does_not_fit_is_refused_with_the_numbers(budget):
    await budget.take("a", 60 * MIB)
    with pytest.raises(MemoryLimitReached, match="50 MiB; 60 of 100 MiB"):
        await budget.take("b", 50 * MIB)
    assert budget.taken_bytes == 60 * MIB


async def test_idle_models_make_room_longest_unused_first_and_no_more_than_needed(budget, models):
    for number, name in enumerate(("b", "a", "c")):
        await budget.take(name, 30 * MIB)
        models.leave(name, used=number)
    await budget.take("d", 40 * MIB)
    assert models.unloaded == ["b"]
    assert budget.taken_bytes == 100 * MIB


async def test_a_spared_model_makes_room_after_all_others(budget, models):
    for name in ("spared", "other"):
        await budget.take(name, 40 * MIB)
    models.leave("spared", used=1, spared=True)
    models.leave("other", used=2)
    await budget.take("d", 60 * MIB)
    assert models.unloaded == ["other"]
    models.leave("d", used=3, spared=True)
    await budget.take("e", 90 * MIB)
    assert models.unloaded == ["other", "spared", "d"]


async def test_what_can_never_fit_unloads_nobody(budget, models):
    await budget.take("a", 60 * MIB)
    models.leave("a")
    with pytest.raises(MemoryLimitReached, match="101 MiB"):
        await budget.take("b", 101 * MIB)
    assert models.unloaded == []


async def test_a_model_in_use_for_a_moment_is_waited_for(models, metrics):
    budget = MemoryBudget(100 * MIB, metrics=metrics, patience_s=10)
    patient = Models(budget)
    await budget.take("a", 60 * MIB)
    taking = asyncio.create_task(budget.take("b", 60 * MIB))
    await asyncio.sleep(0)
    assert not taking.done()
    patient.leave("a")
    await asyncio.wait_for(taking, 5)
    assert budget.taken_bytes == 60 * MIB


async def test_two_models_at_once_do_not_both_take_the_last_room(budget, models):
    await budget.take("a", 50 * MIB)
    models.leave("a")
    taken = await asyncio.gather(
        budget.take("b", 80 * MIB), budget.take("c", 80 * MIB), return_exceptions=True
    )
    assert sum(isinstance(outcome, MemoryLimitReached) for outcome in taken) == 1
    assert budget.taken_bytes == 80 * MIB


async def test_unused_models_are_unloaded_but_for_spared_ones(budget, models):
    now = time.monotonic()
    models.leave("old", used=now - 60)
    models.leave("spared", used=now - 60, spared=True)
    models.leave("fresh", used=now + 60)
    # The one whose end fails does not keep the others loaded.
    models.leave("broken", used=now - 60)
    models.failing = "broken"
    unloading = asyncio.create_task(budget.unload_unused(keep_alive_s=0.01))
    async with asyncio.timeout(10):
        while len(models.unloaded) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    unloading.cancel()
    assert sorted(models.unloaded) == ["broken", "old"]


async def test_what_is_counted_and_what_was_unloaded_is_told_in_the_metrics(
    budget, models, metrics
):
    await budget.take("a", 60 * MIB)
    models.leave("a")
    await budget.take("b", 50 * MIB)
    value = metrics.registry.get_sample_value
    assert value("skerry_model_memory_bytes", {"model": "a"}) == 0
    assert value("skerry_model_memory_bytes", {"model": "b"}) == 50 * MIB
    unloads = {"model": "a", "reason": "memory"}
    assert value("skerry_model_unloads_total", unloads) == 1


def test_without_a_limit_most_of_the_machine_may_be_used(metrics):
    assert MemoryBudget(metrics=metrics).limit_bytes == int(0.8 * machine_bytes())
