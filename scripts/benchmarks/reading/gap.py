"""Measures the cost of a request in bytes; the reader's constants follow from it."""

import statistics
import time
from collections.abc import Awaitable, Callable
from functools import partial

import anyio

from harvester.model import ByteRange, ObjectRef
from harvester.reader import opened_frames, source
from harvester.store.base import Store
from harvester.store.open import StoreSettings, open_store
from reading.measuring import BUCKET, Setting

SMALL, LARGE = 4 << 10, 8 << 20  # bytes
MANY = 256  # requests


def run(setting: Setting) -> None:
    """Print how many bytes take as long as a request, alone or with others under way."""
    path = setting.root / BUCKET / "noise.bin"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        stream.truncate(2 * MANY * SMALL + LARGE)
    ref = ObjectRef(BUCKET, path.name)
    print("\nA request, and the bytes that take as long")

    async def measured() -> None:
        async with open_store(StoreSettings(concurrency=128), endpoint=setting.bucket.address) as store:
            small = await _median(partial(_one, store, ref, SMALL), setting.runs)
            large = await _median(partial(_one, store, ref, LARGE), setting.runs)
            per_byte = (large - small) / (LARGE - SMALL)
            print(
                f"  one, waited for: {small * 1e3:.1f} ms; {1e-6 / per_byte:.0f} MB/s behind it:"
                f" as {small / per_byte / 1024:,.0f} KiB"
            )
            for at_once in (1, 16, 32, 64):
                many = await _median(partial(_many, store, ref, at_once), setting.runs)
                each = many / MANY - SMALL * per_byte
                print(
                    f"  one of {MANY}, {at_once:2} at once: {each * 1e3:6.2f} ms:"
                    f" as {max(each, 0) / per_byte / 1024:,.0f} KiB"
                )

    anyio.run(measured)
    print(
        f"  so a reader requests at least {source.SHORTEST_REQUEST >> 10} KiB, {source.AT_ONCE} at once, and"
        f" frames {opened_frames.GAP >> 10} KiB apart together;"
        f" {opened_frames.WIDE_GAP >> 10} KiB apart if there are more"
    )


async def _median(work: Callable[[], Awaitable[float]], runs: int) -> float:
    await work()
    return statistics.median([await work() for _ in range(runs)])


async def _one(store: Store, ref: ObjectRef, length: int) -> float:
    started = time.perf_counter()
    await store.get_range(ref, ByteRange(0, length))
    return time.perf_counter() - started


async def _many(store: Store, ref: ObjectRef, at_once: int) -> float:
    """Read every other part of the object, each in its own request."""
    limit = anyio.CapacityLimiter(at_once)

    async def get(number: int) -> None:
        async with limit:
            await store.get_range(ref, ByteRange(2 * number * SMALL, (2 * number + 1) * SMALL))

    started = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for number in range(MANY):
            tasks.start_soon(get, number)
    return time.perf_counter() - started
