"""A demo bucket in this process that records every request and can delay requests."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

from aiohttp import web
from anyio.from_thread import start_blocking_portal

from harvester.demo import CATALOG_BUCKET, DemoAddress, demo_bucket
from harvester.demo.server import DemoServer

Hold = Callable[[int], Awaitable[None]]


@dataclass
class RecordedDemo:
    """The bucket's address and its requests: objects by key, and listings."""

    address: DemoAddress
    objects: list[str] = field(default_factory=list)
    listings: list[str] = field(default_factory=list)

    def forget(self) -> None:
        self.objects.clear()
        self.listings.clear()

    def toml(self, folder: Path, *, select: str = "", source: str = "", limits: str = "") -> Path:
        """A crawl of the whole bucket, or of a selection, into `folder`/dataset."""
        path = folder / "crawl.toml"
        path.write_text(
            f'dataset = "{folder}/dataset"\n[source]\ncatalog = "{self.address.catalog_url}"\n'
            f'endpoint = "{self.address.endpoint}"\n{source}\n[select]\n{select}\n[limits]\n{limits}\n'
        )
        return path


@contextmanager
def recorded_demo(root: Path | None = None, *, hold: Hold | None = None) -> Iterator[RecordedDemo]:
    """Serve a demo bucket from another thread.

    Args:
        root: As `demo_bucket` takes it.
        hold: Is awaited, with the number of objects asked for so far, before an object is answered.
    """
    answer = DemoServer.respond
    recorded: list[RecordedDemo] = []

    async def record(server: DemoServer, request: web.BaseRequest) -> web.StreamResponse:
        path = request.rel_url.path
        if "list-type" in request.rel_url.query or path.endswith("/o"):
            recorded[0].listings.append(str(request.rel_url))
        elif not path.startswith(f"/{CATALOG_BUCKET}/"):
            recorded[0].objects.append(path.split("/", 2)[2])
            if hold is not None:
                await hold(len(recorded[0].objects))
        return await answer(server, request)

    with (
        patch.object(DemoServer, "respond", record),
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(demo_bucket(root)) as address,
    ):
        recorded.append(RecordedDemo(address))
        yield recorded[0]
