"""A bare aiohttp loop: fetches the ranges that a file lists, and discards them."""

import asyncio
import sys
from pathlib import Path

import aiohttp
import yarl


async def fetch_all(ranges: list[list[str]], concurrency: int) -> int:
    """Fetch ranges (URL, first and last byte), `concurrency` at a time; return the bytes received."""
    lines = iter(ranges)
    received = 0
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector, headers={"Accept-Encoding": "identity"}) as session:

        async def fetch_some() -> None:
            nonlocal received
            for address, first, last in lines:
                url = yarl.URL(address, encoded=True)
                async with session.get(url, headers={"Range": f"bytes={first}-{last}"}) as answer:
                    received += len(await answer.read())

        async with asyncio.TaskGroup() as tasks:
            for _ in range(concurrency):
                tasks.create_task(fetch_some())
    return received


if __name__ == "__main__":
    listed = [line.split() for line in Path(sys.argv[1]).read_text().splitlines()]
    print(asyncio.run(fetch_all(listed, int(sys.argv[2]))))
