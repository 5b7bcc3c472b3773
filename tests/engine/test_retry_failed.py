"""Failures that are taken again: what succeeds becomes a row, what fails stays one, nothing comes twice."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import anyio
import pyarrow.parquet as pq
import pytest
from aiohttp import web
from handler_server import serving
from recorded_demo import RecordedDemo, recorded_demo

from harvester.config import load
from harvester.dataset import Dataset
from harvester.dataset.directory import LocalStorage
from harvester.engine.crawl import CrawlOptions, CrawlResult, crawl
from harvester.engine.retry_failed import may_pass
from harvester.engine.shard import CrawlProgress
from harvester.errors import DatasetError
from harvester.fetch.series_listing import ListedSeries, list_series
from harvester.model import ListedObject, ObjectRef, Series
from harvester.store.base import Store

LIMITS = "processes = 1\nattempts = 1\nconcurrency = 4"
SELECTION = 'Modality = "MR"'


class Trouble:
    """Answers requests with an error: every one, every other one, or for so many of them."""

    def __init__(self) -> None:
        self.answers: list[type[web.HTTPException] | None] = []
        self.always: type[web.HTTPException] | None = None
        self.watched: CrawlProgress | None = None
        self.counts: list[CrawlProgress] = []

    async def __call__(self, _number: int) -> None:
        if self.watched is not None:
            self.counts.append(replace(self.watched))
        answer = self.answers.pop(0) if self.answers else self.always
        if answer is not None:
            raise answer


@pytest.fixture(scope="module")
def trouble() -> Trouble:
    return Trouble()


@pytest.fixture(scope="module")
def demo(trouble: Trouble) -> Iterator[RecordedDemo]:
    with recorded_demo(hold=trouble) as demo:
        yield demo


@pytest.fixture(autouse=True)
def no_trouble(trouble: Trouble) -> Iterator[None]:
    yield
    trouble.answers, trouble.always = [], None
    trouble.watched, trouble.counts = None, []


def run(toml: Path, progress: CrawlProgress | None = None, **options: Any) -> CrawlResult:
    return anyio.run(crawl, load(toml), progress or CrawlProgress(), CrawlOptions(**options))


def table(dataset: Path, kind: Any) -> list[dict[str, Any]]:
    """The rows of all files that lie there: none may be left that does not count."""
    parts = {part.path for part in Dataset.open(dataset).parts(kind)}
    there = {str(path.relative_to(dataset)) for path in (dataset / kind).rglob("*.parquet")}
    assert there == parts
    return [row for part in parts for row in pq.ParquetFile(dataset / part).read().to_pylist()]


def addresses(dataset: Path) -> Counter[str]:
    return Counter(row["instance_url"] for kind in ("instances", "failures") for row in table(dataset, kind))


@pytest.fixture
def toml(demo: RecordedDemo, tmp_path: Path) -> Path:
    return demo.toml(tmp_path, select=SELECTION, limits=LIMITS)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return tmp_path / "dataset"


@pytest.fixture(scope="module")
def expected(demo: RecordedDemo, tmp_path_factory: pytest.TempPathFactory) -> Counter[str]:
    folder = tmp_path_factory.mktemp("undisturbed")
    result = run(demo.toml(folder, select=SELECTION, limits=LIMITS))
    assert result.failures == 0
    assert result.instances > 20
    return addresses(folder / "dataset")


def test_what_may_pass_is_taken_again_before_the_crawl_ends(
    toml: Path, dataset: Path, trouble: Trouble, expected: Counter[str]
) -> None:
    trouble.answers = [web.HTTPInternalServerError, None] * 8
    result = run(toml)
    assert (result.instances, result.failures) == (len(expected), 0)
    assert addresses(dataset) == expected
    assert any(commit.generation for commit in Dataset.open(dataset).commits())


@pytest.mark.parametrize("asked_for", [False, True])
def test_the_progress_counts_an_object_once_however_often_it_is_read(
    toml: Path, trouble: Trouble, expected: Counter[str], *, asked_for: bool
) -> None:
    progress = trouble.watched = CrawlProgress()
    trouble.always = web.HTTPInternalServerError
    assert run(toml, progress).instances == 0
    assert (progress.instances, progress.failures) == (0, len(expected))
    if asked_for:
        trouble.answers, trouble.always = [web.HTTPForbidden] * 3, None
        progress = trouble.watched = CrawlProgress()
        assert run(toml, progress, retry_failed=True).failures == progress.failures == 3
    assert len(trouble.counts) >= 2 * len(expected)
    for one in trouble.counts:
        assert one.instances + one.failures + one.skipped <= len(expected)
        assert one.failures >= 0


def test_what_fails_for_good_is_not_taken_again_until_it_is_asked_for(
    toml: Path, dataset: Path, trouble: Trouble, demo: RecordedDemo, expected: Counter[str]
) -> None:
    trouble.answers = [web.HTTPForbidden] * 5
    result = run(toml)
    assert result.failures == 5
    assert {row["reason"] for row in table(dataset, "failures")} == {"access_denied"}
    assert addresses(dataset) == expected
    failed = {row["instance_url"] for row in table(dataset, "failures")}
    demo.forget()
    assert run(toml).failures == 5
    assert not demo.objects
    trouble.answers = [web.HTTPForbidden] * 2
    mended = run(toml, retry_failed=True)
    assert {f"s3://{demo.address.bucket}/{key}" for key in demo.objects} == failed
    assert not demo.listings
    assert (mended.instances, mended.failures) == (3, 2)
    assert addresses(dataset) == expected
    assert {row["attempts"] for row in table(dataset, "failures")} == {2}
    last = run(toml, retry_failed=True)
    assert (last.instances, last.failures, last.skipped) == (2, 0, len(expected) - 2)
    assert addresses(dataset) == expected
    assert table(dataset, "failures") == []


def test_only_the_failures_of_selected_series_are_taken_again(
    toml: Path, demo: RecordedDemo, dataset: Path, tmp_path: Path, trouble: Trouble, expected: Counter[str]
) -> None:
    trouble.always = web.HTTPForbidden
    run(toml)
    failures = table(dataset, "failures")
    trouble.always = None
    chosen = failures[0]["series_key"]
    own = sum(row["series_key"] == chosen for row in failures)
    assert own < len(failures)
    one = demo.toml(tmp_path, select=f'crdc_series_uuid = "{chosen}"', limits=LIMITS)
    result = run(one, retry_failed=True)
    assert (result.instances, result.failures) == (own, 0)
    assert addresses(dataset) == expected
    assert [row["series_key"] for row in table(dataset, "failures")].count(chosen) == 0
    assert {str(row) for row in table(dataset, "failures")} == {
        str(row) for row in failures if row["series_key"] != chosen
    }


class Refusing(BaseHTTPRequestHandler):
    """Denies every request."""

    def do_GET(self) -> None:
        self.send_error(403)


def test_a_series_that_could_not_be_listed_is_listed_again(
    toml: Path, dataset: Path, demo: RecordedDemo, expected: Counter[str]
) -> None:
    text = toml.read_text()
    with serving(Refusing) as endpoint:
        toml.write_text(text.replace(f'endpoint = "{demo.address.endpoint}"', f'endpoint = "{endpoint}"'))
        down = run(toml)
    assert (down.instances, down.failures) == (0, down.series)
    assert {row["reason"] for row in table(dataset, "failures")} == {"listing"}
    toml.write_text(text)
    result = run(toml, retry_failed=True)
    assert (result.instances, result.failures) == (len(expected), 0)
    assert addresses(dataset) == expected


async def list_first_object(series: Series, store: Store) -> ListedSeries:
    return await list_series(series, cast("Store", FirstObjectOnly(store)))


class FirstObjectOnly:
    """A store whose listings end after the first object."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def list_objects(self, prefix: ObjectRef) -> AsyncIterator[ListedObject]:
        for listed in [one async for one in self._store.list_objects(prefix)][:1]:
            yield listed


@pytest.mark.parametrize("compacted", [False, True], ids=["as it was written", "compacted"])
def test_an_incomplete_series_is_listed_again_and_gives_no_row_twice(
    toml: Path, dataset: Path, expected: Counter[str], *, compacted: bool
) -> None:
    with (
        patch("harvester.engine.crawl.choose_buckets", lambda *_: []),
        patch("harvester.engine.shard.list_series", list_first_object),
    ):
        short = run(toml)
    assert 0 < short.failures < short.series
    assert {row["reason"] for row in table(dataset, "failures")} == {"incomplete_series"}
    if compacted:
        opened = Dataset.open(dataset)
        with opened.lock() as lock:
            opened.compact(lock)
    result = run(toml, retry_failed=True)
    assert result.failures == 0
    assert result.instances + short.instances == len(expected)
    assert addresses(dataset) == expected


@pytest.mark.parametrize("when", ["before the record is replaced", "before the old part is deleted"])
def test_a_crawl_that_dies_while_it_takes_failures_again_has_every_object_once(
    toml: Path, dataset: Path, trouble: Trouble, expected: Counter[str], when: str
) -> None:
    trouble.answers = [web.HTTPForbidden] * 5
    run(toml)

    def dies(*_: Any, **__: Any) -> None:
        raise DatasetError("the power went out")

    dying = (
        patch("harvester.dataset.shard_writer.write_commit", dies)
        if when.endswith("replaced")
        else patch.object(LocalStorage, "delete", dies)
    )
    with dying, pytest.raises(DatasetError, match="power"):
        run(toml, retry_failed=True)
    committed = [
        row["instance_url"]
        for kind in ("instances", "failures")
        for part in Dataset.open(dataset).parts(kind)  # type: ignore[arg-type]
        for row in pq.ParquetFile(dataset / part.path).read(["instance_url"]).to_pylist()
    ]
    assert Counter(committed) == expected
    result = run(toml, retry_failed=True)
    assert result.failures == 0
    assert addresses(dataset) == expected


@pytest.mark.parametrize(
    ("reason", "status", "passes"),
    [
        ("server_error", 500, True),
        ("throttled", 503, True),
        ("connection", None, True),
        ("timeout", None, True),
        ("listing", None, True),
        ("listing", 503, True),
        ("listing", 404, False),
        ("not_found", 404, False),
        ("malformed", None, False),
        ("incomplete_series", None, False),
        ("worker_died", None, False),
    ],
)
def test_what_may_pass_is_what_the_server_or_the_network_failed_at(
    reason: str, status: int | None, *, passes: bool
) -> None:
    assert may_pass(reason, status) is passes
