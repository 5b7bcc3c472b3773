"""Each item reaches exactly one reader, in order, and the queue holds no more than its bound."""

import anyio
import pytest

from harvester.engine.batch_queue import BatchQueue


async def read(found: BatchQueue[int], taken: list[int]) -> None:
    while await found.wait():
        if (one := found.take()) is not None:
            taken.append(one)
        await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("readers", [1, 3, 40])
def test_each_item_is_taken_once_in_order_by_any_number_of_readers(readers: int) -> None:
    taken: list[int] = []

    async def run() -> None:
        found: BatchQueue[int] = BatchQueue(2)
        async with anyio.create_task_group() as tasks:
            for _ in range(readers):
                tasks.start_soon(read, found, taken)
            for start in range(0, 60, 6):
                await found.put(range(start, start + 6))
                await found.put([])
            found.end()

    anyio.run(run)
    assert taken == list(range(60))


def test_a_batch_waits_until_few_of_the_last_are_left() -> None:
    async def run() -> None:
        found: BatchQueue[int] = BatchQueue(2)
        await found.put([1, 2, 3, 4, 5])
        done = anyio.Event()

        async def put() -> None:
            await found.put([6])
            done.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(put)
            for expected in (1, 2, 3):
                await anyio.wait_all_tasks_blocked()
                assert not done.is_set()
                assert found.take() == expected
            await done.wait()
        assert [found.take() for _ in range(4)] == [4, 5, 6, None]

    anyio.run(run)


def test_who_waits_when_it_ends_gets_nothing() -> None:
    taken: list[int] = []

    async def run() -> None:
        found: BatchQueue[int] = BatchQueue(1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read, found, taken)
            await anyio.wait_all_tasks_blocked()
            found.end()
        assert not await found.wait()

    anyio.run(run)
    assert taken == []
