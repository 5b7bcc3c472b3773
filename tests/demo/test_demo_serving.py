import os
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import anyio
import pyarrow.parquet as pq
import pytest
from anyio.from_thread import start_blocking_portal
from demo_requests import ask

from harvester.demo import CATALOG_BUCKET, CATALOG_KEY, DemoAddress, demo_bucket, lay_out, serve_demo
from harvester.errors import ConfigError


@pytest.mark.anyio
async def test_the_catalog_is_in_a_bucket_of_its_own(address: DemoAddress, tmp_path: Path) -> None:
    assert address.catalog_url == f"{address.endpoint}/{CATALOG_BUCKET}/{CATALOG_KEY}"
    async with aiohttp.ClientSession() as session, session.get(address.catalog_url) as answer:
        (tmp_path / "catalog.parquet").write_bytes(await answer.read())
    table = pq.read_table(tmp_path / "catalog.parquet", columns=["instanceCount"])
    assert table.num_rows == address.series
    assert sum(table["instanceCount"].to_pylist()) == address.instances


@pytest.mark.anyio
async def test_serving_saves_the_catalog_and_says_when_it_is_ready(root: Path, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.parquet"
    ready: list[DemoAddress] = []

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:

            def note(address: DemoAddress) -> None:
                ready.append(address)
                tasks.cancel_scope.cancel()

            async def serve() -> None:
                await serve_demo(root, on_ready=note, catalog=catalog)

            tasks.start_soon(serve)
    [address] = ready
    assert pq.read_metadata(catalog).num_rows == address.series
    with pytest.raises(ConnectionRefusedError):
        ask(address, "/")


def test_a_port_that_is_taken_is_refused_by_its_number(address: DemoAddress, root: Path) -> None:
    port = urlsplit(address.endpoint).port
    assert port is not None

    async def start() -> None:
        async with demo_bucket(root, port):
            pass

    with pytest.raises(ConfigError, match=str(port)):
        anyio.run(start)


def test_two_runs_give_the_same_keys(root: Path, keys: dict[str, str]) -> None:
    assert {Path(instance.path).name: instance.key for instance in lay_out(root).instances} == keys


def test_a_reader_that_stalls_does_not_hold_up_the_end(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.truncate(tmp_path / "file", 1 << 30)
    [key] = (instance.key for instance in lay_out(tmp_path).instances)
    with start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(demo_bucket(tmp_path)) as address:
            parts = urlsplit(address.endpoint)
            connection = socket.create_connection((parts.hostname, parts.port), timeout=20)
            connection.sendall(f"GET /idc-open-data/{key} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert connection.recv(100)
            started = time.monotonic()
        assert time.monotonic() - started < 10
    connection.close()
