"""Crawls on a Dask cluster: the same rows, whichever worker comes or goes, within the same limits."""

import os
import pickle
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from textwrap import dedent
from typing import Any

import anyio
import dask
import pyarrow.parquet as pq
import pytest
import yaml
from checkout import ROOT
from dask_fault import FaultPlugin
from distributed import Client, LocalCluster
from hex_names import hex_name

from harvester.config import CrawlConfig, LimitsConfig, load
from harvester.dataset import Dataset
from harvester.demo.synthetic_bucket import SyntheticBucket
from harvester.demo.synthetic_header import instance_uid
from harvester.demo.synthetic_server import synthetic_server
from harvester.engine.crawl import CrawlOptions, CrawlResult, crawl
from harvester.engine.shard import CrawlProgress
from harvester.engine.shard_task import ShardTask
from harvester.engine.workers.dask_client import DASK_SETTINGS
from harvester.engine.workers.dask_worker import HarvesterPlugin, packed
from harvester.engine.workers.memory import MEMORY
from harvester.errors import ConfigError
from harvester.model import ListedObject, ObjectRef, Series, Shard
from harvester.store.open import StoreSettings, open_store

INSTANCES = 1000
CLUSTER = """
import sys
from distributed import LocalCluster
with LocalCluster(
    n_workers=1, threads_per_worker=2, processes=False, protocol="tcp://", dashboard_address="127.0.0.1:0"
) as cluster:
    print(cluster.scheduler_address, flush=True)
    sys.stdin.read()
"""
WORKER = """
import sys
from distributed.cli.dask_worker import main
main([sys.argv[1], "--no-nanny", "--no-dashboard", "--nthreads", "1", "--memory-limit", "0"])
"""


@contextmanager
def cluster(workers: int = 2) -> Iterator[Any]:
    """A cluster that is there before a crawl, as one on other machines is."""
    with LocalCluster(
        n_workers=workers,
        threads_per_worker=2,
        memory_limit=0,
        dashboard_address="127.0.0.1:0",
        silence_logs=50,
    ) as found:
        yield found


@contextmanager
def dask_process(program: str, *arguments: str, **environment: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that is a part of a cluster; it is killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", program, *arguments],  # not this folder's harvester
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **environment},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def shared() -> Iterator[Any]:
    with cluster() as found:
        yield found


def configured(folder: Path, endpoint: str, **limits: Any) -> CrawlConfig:
    SyntheticBucket(INSTANCES).write_catalog(folder / "catalog.parquet")
    return CrawlConfig.model_validate(
        {
            "dataset": str(folder / "data"),
            "source": {"catalog": str(folder / "catalog.parquet"), "endpoint": endpoint},
            "limits": {"engine": "dask", "shard_instances": 200, "processes": 2, **limits},
        }
    )


def uids(dataset: Path) -> Counter[str]:
    parts = Dataset.open(dataset).parts("instances")
    return Counter(
        uid for part in parts for uid in pq.read_table(dataset / part.path)["SOPInstanceUID"].to_pylist()
    )


def everything() -> Counter[str]:
    return Counter(map(instance_uid, range(INSTANCES)))


def process_ids(found: Any) -> list[int]:
    return [nanny.pid for nanny in found.workers.values() if nanny.pid]


async def _crawled(folder: Path, limits: dict[str, Any], on_request: Any = None, **given: Any) -> CrawlResult:
    async with synthetic_server(INSTANCES, on_request=on_request) as address:
        progress = CrawlProgress()
        result = await crawl(configured(folder, address.endpoint, **limits), progress, **given)
        assert (progress.instances, progress.failures) == (result.instances, result.failures)
        return result


def test_a_cluster_of_this_machine_harvests_every_object_once(tmp_path: Path) -> None:
    result = anyio.run(_crawled, tmp_path, {})
    assert (result.instances, result.failures) == (INSTANCES, 0)
    assert uids(tmp_path / "data") == everything()


def test_a_worker_that_is_killed_costs_no_row(shared: Any, tmp_path: Path) -> None:
    asked = 0

    def kill() -> None:
        nonlocal asked
        asked += 1
        if asked == 300:
            os.kill(process_ids(shared)[0], signal.SIGKILL)

    result = anyio.run(partial(_crawled, tmp_path, {"scheduler": shared.scheduler_address}, kill))
    assert asked > INSTANCES
    assert (result.instances, result.failures) == (INSTANCES, 0)
    assert uids(tmp_path / "data") == everything()


@pytest.mark.slow
def test_an_object_that_kills_its_workers_is_a_failure_and_all_others_are_rows(
    shared: Any, tmp_path: Path
) -> None:
    bucket = SyntheticBucket(INSTANCES)
    first = sorted(range(bucket.series), key=lambda series: bucket.key(series * 56))[:2]
    selected = {instance for series in first for instance in bucket.instances_of(series)}
    victim = min(selected) + 7
    options = CrawlOptions(limit_series=2)
    with Client(shared.scheduler_address) as client:
        client.register_plugin(FaultPlugin(f"uid:{instance_uid(victim)}"), name="fault")
        result = anyio.run(
            partial(_crawled, tmp_path, {"scheduler": shared.scheduler_address}, options=options)
        )
        client.unregister_worker_plugin("fault")
    dataset = tmp_path / "data"
    parts = Dataset.open(dataset).parts("failures")
    died = [row for part in parts for row in pq.read_table(dataset / part.path).to_pylist()]
    assert [(row["reason"], row["instance_url"]) for row in died] == [
        ("worker_died", f"s3://idc-open-data/{bucket.key(victim)}")
    ]
    assert (result.instances, result.failures) == (111, 1)
    assert uids(dataset) == Counter(map(instance_uid, selected - {victim}))


def test_a_crawl_that_is_asked_to_stop_commits_what_is_whole_and_goes_on_later(
    shared: Any, tmp_path: Path
) -> None:
    stop = anyio.Event()
    # At the first request, the workers have a few of the many shards; no other is sent after the stop.
    limits = {"scheduler": shared.scheduler_address, "shard_instances": 60}
    first = anyio.run(partial(_crawled, tmp_path, limits, stop.set, stop=stop))
    assert first.stopped
    assert 0 < first.instances < INSTANCES
    rest = anyio.run(_crawled, tmp_path, limits)
    assert rest.skipped == first.instances
    assert uids(tmp_path / "data") == everything()


def test_a_task_arrives_as_it_was_sent() -> None:
    found = ListedObject(ObjectRef("b", "s/1.dcm", "gs"), 5, "e")
    unknown = ListedObject(ObjectRef("", "/\udce4 \u00e4.dcm", "file"), None)
    task = ShardTask(
        hex_name("crawl"), Shard(hex_name("shard"), (Series("s", (ObjectRef("b", "s/"),), (found, unknown)),))
    )
    assert pickle.loads(packed(task)) == task


def test_the_settings_of_a_cluster_are_dasks_and_the_page_has_them() -> None:
    page = (ROOT / "docs" / "clusters.md").read_text()
    settings = yaml.safe_load(dedent(page.partition("```yaml\n")[2].partition("```")[0]))
    for name, value in DASK_SETTINGS.items():
        assert dask.config.get(name, config=settings) == value
        assert type(dask.config.get(name)) is type(value)
    assert len(DASK_SETTINGS) == len(list(leaves(settings))) - len(MEMORY) + 1


def leaves(settings: dict[str, Any]) -> Iterator[Any]:
    for value in settings.values():
        yield from leaves(value) if isinstance(value, dict) else [value]


def test_a_scheduler_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harvester.engine.workers.dask_client.CONNECT_SECONDS", 0.5)
    config = configured(tmp_path, "http://127.0.0.1:9", scheduler="tcp://127.0.0.1:9")
    with pytest.raises(ConfigError, match=r"no Dask scheduler responds at tcp://127\.0\.0\.1:9 .*; start it"):
        anyio.run(crawl, config, CrawlProgress())


def test_a_scheduler_that_goes_ends_the_crawl_and_is_named(tmp_path: Path) -> None:
    asked = 0
    with dask_process(CLUSTER) as process:
        assert process.stdout is not None
        scheduler = process.stdout.readline().strip()

        def end_the_cluster() -> None:
            nonlocal asked
            asked += 1
            if asked == 300:
                process.kill()

        with pytest.raises(
            ConfigError, match=f"the Dask scheduler {scheduler} is gone.*run the same command"
        ):
            anyio.run(_crawled, tmp_path, {"scheduler": scheduler}, end_the_cluster)
    found = uids(tmp_path / "data")
    assert set(found.values()) <= {1}
    assert len(found) < INSTANCES


@pytest.mark.parametrize(
    ("package", "complaint"),
    [
        ('__version__ = "0.0.9"', "has harvester 0.0.9, this crawl is of harvester .*on every worker"),
        (
            'raise ImportError("no pydicom")',
            r"cannot run this crawl \(ImportError: no pydicom\); install the same versions on every worker",
        ),
    ],
)
def test_a_worker_of_another_version_is_named_when_it_joins(
    tmp_path: Path, package: str, complaint: str
) -> None:
    (tmp_path / "other" / "harvester").mkdir(parents=True)
    (tmp_path / "other" / "harvester" / "__init__.py").write_text(package)
    with (
        cluster(workers=0) as empty,
        dask_process(WORKER, empty.scheduler_address, PYTHONPATH=str(tmp_path / "other")),
        pytest.raises(ConfigError, match=f"the Dask worker tcp.* {complaint}.*: pip install"),
    ):
        anyio.run(_crawled, tmp_path, {"scheduler": empty.scheduler_address})


def test_a_worker_that_cannot_load_the_plugin_is_named(shared: Any, tmp_path: Path) -> None:
    class Elsewhere(HarvesterPlugin):
        """A plugin whose class is only in this process."""

        def __reduce__(self) -> Any:
            return import_module, ("harvester.of_a_later_version",)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harvester.engine.workers.dask_cluster.HarvesterPlugin", Elsewhere)
        with pytest.raises(ConfigError, match=r"cannot run this crawl \(.*ModuleNotFoundError.*pip install"):
            anyio.run(_crawled, tmp_path, {"scheduler": shared.scheduler_address})


@pytest.mark.parametrize(
    ("limits", "complaint"),
    [
        ('engine = "dusk"', "limits.engine: 'dusk' is not valid; did you mean dask"),
        ('scheduler = "tcp://a:1"', 'limits.scheduler: needs engine = "dask"'),
        (
            'engine = "dask"\nscheduler = "http://a:1"',
            "limits.scheduler: 'http://a:1' is not tcp://HOST:PORT",
        ),
    ],
)
def test_a_cluster_is_named_by_its_address(tmp_path: Path, limits: str, complaint: str) -> None:
    toml = tmp_path / "crawl.toml"
    toml.write_text(f'dataset = "d"\n[limits]\n{limits}\n')
    with pytest.raises(ConfigError, match=r"crawl\.toml") as raised:
        load(toml)
    assert complaint in str(raised.value)


def test_one_limit_of_requests_a_second_is_divided_by_the_workers_that_there_are() -> None:
    async def look() -> None:
        limit = LimitsConfig(requests_per_second=900).requests_per_second
        async with open_store(StoreSettings(requests_per_second=limit, processes=1)) as store:
            before = store.endpoints.of(ObjectRef("a", "k", "gs"))
            store.share(3)
            after = store.endpoints.of(ObjectRef("b", "k", "gs"))
            for endpoint in (before, after):
                rates = [pace.per_second for pace in endpoint.rate_limiters]
                assert rates == pytest.approx([300, 5000 / 3])
            store.share(2)
            assert [pace.per_second for pace in before.rate_limiters] == pytest.approx([450, 2500])

    anyio.run(look)
