from bisect import bisect_left

import anyio
import pytest
from virtual_time import in_virtual_time

from harvester.store.resilience.rate_limit import RampingRateLimiter, RateLimiter


async def begun(rate_limiter: RateLimiter, seconds: float, callers: int = 50) -> list[float]:
    """When requests began, as many as there could be in a time."""
    moments: list[float] = []

    async def call() -> None:
        while True:
            await rate_limiter.wait()
            moments.append(anyio.current_time())
            await anyio.sleep(0.01)

    with anyio.move_on_after(seconds):
        async with anyio.create_task_group() as tasks:
            for _ in range(callers):
                tasks.start_soon(call)
    return moments


@pytest.mark.parametrize("rate", [0.5, 7.0, 50.0, 1000.0])
def test_any_second_has_as_many_requests_as_were_asked_for(rate):
    async def main():
        moments = await begun(RateLimiter(rate), max(10.0, 10 / rate))
        most = max(bisect_left(moments, start + 1.0) - number for number, start in enumerate(moments))
        assert most <= 1.03 * rate + 1
        assert (len(moments) - 1) / (moments[-1] - moments[0]) == pytest.approx(rate, rel=0.02)

    in_virtual_time(main)


def test_who_came_late_causes_no_burst():
    async def main():
        rate_limiter = RateLimiter(10.0)
        await rate_limiter.wait()
        await anyio.sleep(60.0)
        assert len(await begun(rate_limiter, 1.0)) <= 11

    in_virtual_time(main)


def test_a_rate_of_nothing_is_refused():
    with pytest.raises(ValueError, match="none ever starts"):
        RateLimiter(0.0)


def test_a_ramp_doubles_every_twenty_minutes_while_it_is_used():
    async def main():
        ramp = RampingRateLimiter(2.0)
        for rate in (2.0, 4.0, 8.0):
            moments = await begun(ramp, 20 * 60.0)
            assert len(moments) / (20 * 60.0) == pytest.approx(rate, rel=0.05)

    in_virtual_time(main)


def test_a_ramp_that_is_not_used_stays():
    async def main():
        ramp = RampingRateLimiter(2.0)
        for _ in range(600):
            await ramp.wait()
            await anyio.sleep(10.0)
        assert ramp.per_second == 2.0

    in_virtual_time(main)
