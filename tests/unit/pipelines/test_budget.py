"""The memory limit: enforced before a model is loaded, by unloading idle ones first."""

import asyncio

import pytest

from skerry.errors import MemoryLimitReached
from skerry.pipelines.budget import MemoryBudget, machine_bytes

MIB = 1 << 20


class Idle:
    """Models that can be unloaded, longest idle first."""

    def __init__(self, budget, *names):
        self.budget, self.names, self.unloaded = budget, list(names), []
        budget.make_room_by(self.unload)

    async def unload(self):
        await asyncio.sleep(0)
        if not self.names:
            return False
        name = self.names.pop(0)
        self.budget.give_back(name)
        self.unloaded.append(name)
        return True


async def test_a_model_that_does_not_fit_is_refused_with_the_numbers():
    budget = MemoryBudget(100 * MIB)
    await budget.take("a", 60 * MIB)
    with pytest.raises(MemoryLimitReached, match="50 MiB; 60 of 100 MiB"):
        await budget.take("b", 50 * MIB)
    assert budget.taken_bytes == 60 * MIB


async def test_idle_models_make_room_and_no_more_than_needed():
    budget = MemoryBudget(100 * MIB)
    for name in ("a", "b", "c"):
        await budget.take(name, 30 * MIB)
    idle = Idle(budget, "b", "a")
    await budget.take("d", 40 * MIB)
    assert idle.unloaded == ["b"]
    assert budget.taken_bytes == 100 * MIB


async def test_two_models_at_once_do_not_both_take_the_last_room():
    budget = MemoryBudget(100 * MIB)
    await budget.take("a", 50 * MIB)
    Idle(budget, "a")
    taken = await asyncio.gather(
        budget.take("b", 80 * MIB), budget.take("c", 80 * MIB), return_exceptions=True
    )
    assert sum(isinstance(outcome, MemoryLimitReached) for outcome in taken) == 1
    assert budget.taken_bytes == 80 * MIB


def test_without_a_limit_most_of_the_machine_may_be_used():
    assert MemoryBudget().limit_bytes == int(0.8 * machine_bytes())
