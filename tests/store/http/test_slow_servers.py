"""Crawls of servers that let an answer hang, or that are not there: hedges and patience."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream
from faulty_bucket import FaultyBucket, serving
from pydicom.data import get_testdata_file

from harvester.config import CrawlConfig
from harvester.engine.crawl import CrawlResult, crawl
from harvester.engine.shard import CrawlProgress
from harvester.errors import EndpointUnreachableError

OBJECTS = 300
HANGS = f"{OBJECTS - 20:04}.dcm"


@dataclass
class HangingBucket(FaultyBucket):
    """Never answers the first request for one object."""

    asked: Counter[str] = field(default_factory=Counter)

    async def answer(self, stream: ByteStream, head: str) -> bool:
        key = head.split(" ")[1].rpartition("/")[2]
        self.asked[key] += 1
        if key == HANGS and self.asked[key] == 1 and not self.down:
            await anyio.sleep_forever()
        return await super().answer(stream, head)


def harvested(
    folder: Path, *, objects: int = OBJECTS, folders: int = 1, down: bool = False, **limits: Any
) -> tuple[HangingBucket, CrawlResult, dict[str, Any]]:
    content = Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()
    bucket = HangingBucket(
        {f"{number % folders}/{number:04}.dcm": content for number in range(objects)}, down=down
    )

    async def main() -> CrawlResult:
        async with serving(bucket):
            urls = folder / "urls.txt"
            urls.write_text("".join(f"{bucket.endpoint}/b/{key}\n" for key in bucket.objects))
            config = {
                "dataset": str(folder / "dataset"),
                "select": {"urls": str(urls)},
                "limits": {"processes": 1, "concurrency": 8, **limits},
            }
            return await crawl(CrawlConfig.model_validate(config), CrawlProgress())

    result = anyio.run(main)
    (record,) = (folder / "dataset/_harvest/runs").iterdir()
    return bucket, result, json.loads(record.read_text())


def test_an_answer_that_hangs_is_asked_for_again_and_the_record_says_so(tmp_path: Path):
    bucket, result, record = harvested(tmp_path, hedge=True)
    assert (result.instances, result.failures) == (OBJECTS, 0)
    assert bucket.asked[HANGS] == 2
    assert record["hedges"]["sent"] >= record["hedges"]["won"] >= 1
    assert record["retries"] == {}
    assert record["configuration"]["limits"]["hedge"] is True
    assert result.requests == bucket.requests


@pytest.mark.parametrize("hedge", [{}, {"hedge": False}])
def test_without_a_hedge_it_waits_for_its_timeout(tmp_path: Path, hedge: dict[str, bool]):
    bucket, result, record = harvested(tmp_path, timeout_seconds=1, **hedge)
    assert (result.instances, result.failures) == (OBJECTS, 0)
    assert bucket.asked[HANGS] == 2
    assert record["hedges"] == {"sent": 0, "won": 0}
    assert record["retries"] == {"timeout": 1}


def test_a_server_that_never_responds_ends_the_crawl_once_after_the_patience(tmp_path: Path):
    with pytest.raises(ExceptionGroup) as caught:  # of the task group that the server runs in
        harvested(
            tmp_path, objects=40, folders=8, down=True, attempts=100, patience_seconds=0.1, shard_instances=5
        )
    assert caught.group_contains(EndpointUnreachableError, match="closed it; no request has succeeded")
