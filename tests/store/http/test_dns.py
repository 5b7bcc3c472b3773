import anyio
import pytest
from aiohttp.abc import AbstractResolver

from harvester.store.http.dns import AddressCache

pytestmark = pytest.mark.anyio


class Names(AbstractResolver):
    """Every name resolves to these addresses; the names are recorded."""

    def __init__(self, *addresses):
        self.addresses = addresses
        self.asked = []

    async def resolve(self, host, port=0, family=0):
        self.asked.append(host)
        await anyio.wait_all_tasks_blocked()  # until all that want to know it have come
        found = {"hostname": host, "port": port, "family": family, "proto": 0, "flags": 0}
        return [found | {"host": address} for address in self.addresses]

    async def close(self):
        pass


async def test_a_host_is_looked_up_once_for_all_that_ask_at_once_and_soon_after():
    names = Names("127.0.0.1")
    hosts = AddressCache(names)
    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(hosts.of, "scans.example", 80)
    await hosts.of("scans.example", 80)
    await hosts.of("other.example", 80)
    assert names.asked == ["scans.example", "other.example"]


async def test_the_addresses_of_a_host_take_turns():
    hosts = AddressCache(Names("127.0.0.1", "127.0.0.2", "::1"))
    found = [[info[4][0] for info in await hosts.of("scans.example", 80)] for _ in range(3)]
    assert sorted(one[0] for one in found) == ["127.0.0.1", "127.0.0.2", "::1"]
    assert all(len(one) == 3 for one in found)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_an_address_is_not_looked_up(address):
    names = Names()
    assert [info[4] for info in await AddressCache(names).of(address, 81)] == [(address, 81)]
    assert not names.asked


async def test_a_host_that_nobody_knows_is_an_error_each_time():
    hosts = AddressCache(Names())
    for _ in range(2):
        with pytest.raises(OSError, match=r"scans\.example"):
            await hosts.of("scans.example", 80)
