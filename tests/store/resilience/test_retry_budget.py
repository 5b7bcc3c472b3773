import anyio
from virtual_time import in_virtual_time

from harvester.errors import ServerFaultError, ThrottledError, TimedOutError
from harvester.store.resilience.retry_budget import RETRY_COST, RetryBudget, retry_cost


def test_a_retry_after_a_timeout_costs_twice_as_much():
    assert retry_cost(ThrottledError("x")) == retry_cost(ServerFaultError("x")) == 5
    assert retry_cost(TimedOutError("x")) == 10


def test_a_full_bucket_pays_for_a_hundred_retries_at_once():
    async def main():
        budget = RetryBudget()
        taken = [await budget.take(RETRY_COST, 0.0) for _ in range(101)]
        assert taken == [True] * 100 + [False]

    in_virtual_time(main)


def test_an_empty_bucket_lets_two_retries_a_second_through():
    async def main():
        budget = RetryBudget()
        while await budget.take(RETRY_COST, 0.0):
            pass
        taken: list[float] = []

        async def retry() -> None:
            assert await budget.take(RETRY_COST, 300.0)
            taken.append(anyio.current_time())

        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(retry)
        assert 49.0 <= taken[-1] <= 51.0

    in_virtual_time(main)


def test_a_success_pays_for_a_retry_that_waits():
    async def main():
        budget = RetryBudget(10, per_second=1e-6)
        assert await budget.take(10, 0.0)

        async def succeed() -> None:
            for _ in range(5):
                await anyio.sleep(1.0)
                budget.succeeded()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(succeed)
            assert await budget.take(RETRY_COST, 60.0)
        assert anyio.current_time() == 5.0

    in_virtual_time(main)


def test_a_retry_that_succeeds_gives_back_what_it_cost():
    async def main():
        budget = RetryBudget(100, per_second=1e-6)
        await budget.take(10, 0.0)
        assert round(budget.tokens) == 90
        budget.succeeded(10)
        assert round(budget.tokens) == 100
        budget.succeeded(10)
        assert round(budget.tokens) == 100  # never more than it holds

    in_virtual_time(main)


def test_patience_ends():
    async def main():
        budget = RetryBudget(0, per_second=1e-6)
        assert not await budget.take(RETRY_COST, 30.0)
        assert anyio.current_time() == 30.0

    in_virtual_time(main)


def test_nobody_overtakes_who_waits_for_more():
    async def main():
        budget = RetryBudget(20, per_second=1.0)
        assert await budget.take(20, 0.0)
        order: list[str] = []

        async def take(name: str, cost: int) -> None:
            await budget.take(cost, 60.0)
            order.append(name)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take, "dear", 10)
            await anyio.sleep(1.0)
            tasks.start_soon(take, "cheap", 1)
        assert order == ["dear", "cheap"]

    in_virtual_time(main)


def test_at_a_fifth_of_faults_the_budget_lasts():
    async def main():
        budget = RetryBudget(per_second=1e-6)
        for number in range(5000):
            if number % 5 == 0:
                assert await budget.take(RETRY_COST, 0.0)
                budget.succeeded(RETRY_COST)
            else:
                budget.succeeded()

    in_virtual_time(main)
