from itertools import pairwise

import anyio
import pytest
from virtual_time import in_virtual_time

from harvester.errors import EndpointDownError, ThrottledError
from harvester.store.resilience.circuit_breaker import CircuitBreaker

DOWN = ThrottledError("the server answers 503", status=503)


def failing(circuit: CircuitBreaker, times: int) -> None:
    for _ in range(times):
        circuit.failed(DOWN)


async def opened() -> CircuitBreaker:
    circuit = CircuitBreaker("s3://scans")
    failing(circuit, 1)
    await anyio.sleep(1.0)
    failing(circuit, 9)
    assert circuit.is_open
    return circuit


def test_many_failures_within_a_moment_do_not_open_it():
    async def main():
        circuit = CircuitBreaker("s3://scans")
        failing(circuit, 500)
        await anyio.sleep(0.9)
        failing(circuit, 500)
        assert not circuit.is_open
        await anyio.sleep(0.1)
        failing(circuit, 1)
        assert circuit.is_open

    in_virtual_time(main)


def test_few_failures_over_a_long_time_do_not_open_it():
    async def main():
        circuit = CircuitBreaker("s3://scans")
        for _ in range(9):
            failing(circuit, 1)
            await anyio.sleep(60.0)
        assert not circuit.is_open

    in_virtual_time(main)


def test_a_success_between_failures_keeps_it_closed():
    async def main():
        circuit = CircuitBreaker("s3://scans")
        for _ in range(100):
            failing(circuit, 9)
            await anyio.sleep(1.0)
            circuit.succeeded()
        assert not circuit.is_open

    in_virtual_time(main)


def test_one_call_at_a_time_probes_and_each_time_later():
    async def main():
        circuit = await opened()
        probes: list[float] = []
        probing = 0

        async def call() -> None:
            nonlocal probing
            while await circuit.wait_until_closed(anyio.current_time() + 1000.0):
                probing += 1
                assert probing == 1
                probes.append(anyio.current_time())
                await anyio.sleep(0.5)
                probing -= 1
                failing(circuit, 1)
                circuit.probe_ended()

        with anyio.move_on_after(120.0):
            async with anyio.create_task_group() as tasks:
                for _ in range(50):
                    tasks.start_soon(call)
        waits = [later - sooner for sooner, later in pairwise(probes)]
        assert 10 <= len(probes) <= 18
        assert waits[0] <= 2.5
        assert 8.0 <= max(waits) <= 15.5

    in_virtual_time(main)


def test_a_probe_that_succeeds_lets_all_go_on_at_once():
    async def main():
        circuit = await opened()
        went: list[float] = []

        async def call() -> None:
            if await circuit.wait_until_closed(anyio.current_time() + 1000.0):
                await anyio.sleep(0.5)
                circuit.succeeded()
                circuit.probe_ended()
            went.append(anyio.current_time())

        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(call)
        assert not circuit.is_open
        assert len(set(went)) == 1

    in_virtual_time(main)


def test_a_probe_that_was_cancelled_leaves_its_place_to_another():
    async def main():
        circuit = await opened()
        assert await circuit.wait_until_closed(1000.0)
        circuit.probe_ended()
        assert await circuit.wait_until_closed(1000.0)

    in_virtual_time(main)


def test_who_has_waited_long_enough_is_told_what_is_wrong():
    async def main():
        circuit = await opened()
        assert await circuit.wait_until_closed(1000.0)  # somebody else's probe, which hangs
        start = anyio.current_time()
        with pytest.raises(EndpointDownError, match=r"s3://scans has not responded for .*503") as caught:
            await circuit.wait_until_closed(start + 30.0)
        assert anyio.current_time() == pytest.approx(start + 30.0)
        assert (caught.value.status, caught.value.requests, caught.value.transient) == (503, 0, False)

    in_virtual_time(main)
