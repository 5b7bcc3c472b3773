"""What a crawl tells of itself: its record, its log, its metrics."""

import json
import re
import socket
import threading
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web
from harvester_program import ended, run, start
from recorded_demo import RecordedDemo, recorded_demo

from harvester.config import CrawlConfig
from harvester.dataset import Dataset
from harvester.engine.run_record import RunRecord, WorkerExit
from harvester.store.telemetry import Telemetry

SELECTION = 'Modality = "MR"'


class Hold:
    """Asks for patience so many times."""

    def __init__(self) -> None:
        self.failing = 0

    async def __call__(self, number: int) -> None:
        if number <= self.failing:
            raise web.HTTPServiceUnavailable(headers={"Retry-After": "0"})


@pytest.fixture(scope="module")
def hold() -> Hold:
    return Hold()


@pytest.fixture(scope="module")
def demo(hold: Hold) -> Iterator[RecordedDemo]:
    with recorded_demo(hold=hold) as demo:
        yield demo


def records(dataset: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((dataset / "_harvest/runs").iterdir())]


@pytest.mark.parametrize("processes", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_crawl_leaves_a_record_of_what_it_did_and_how_it_was_answered(
    demo: RecordedDemo, hold: Hold, tmp_path: Path, processes: int
) -> None:
    toml = demo.toml(tmp_path, select=SELECTION, limits=f"processes = {processes}")
    demo.forget()
    hold.failing = 1
    done = json.loads(run("crawl", toml, "--json").stdout)
    hold.failing = 0
    (record,) = records(tmp_path / "dataset")
    assert {key: record["totals"][key] for key in done} == done
    assert record["processes"] == processes
    assert record["configuration"]["select"]["columns"] == {"Modality": ["MR"]}
    assert record["retries"] == {"throttled": 1}
    assert 1 <= max(record["concurrency"].values()) <= 256 * processes
    latency = record["latency_seconds"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] < 60
    asked = sum(endpoint["requests"] for endpoint in record["endpoints"].values())
    assert asked == len(demo.objects) + len(demo.listings) == done["requests"]
    assert record["rates"]["requests_per_instance"] == done["requests"] / done["instances"]
    assert run("crawl", toml).status == 0
    assert [one["totals"]["skipped"] for one in records(tmp_path / "dataset")] == [0, done["instances"]]


def test_a_record_tells_deaths_and_long_lists_by_their_length(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d")
    uids = [f"1.2.{number}" for number in range(5000)]
    config = CrawlConfig.model_validate({"dataset": "d", "select": {"SeriesInstanceUID": uids}})
    moment = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
    totals = {"instances": 0, "requests": 3, "bytes_fetched": 10}
    deaths = (WorkerExit(17, "signal 9", moment),)
    record = RunRecord("crawl", config, moment, 2.0, 4, totals, Telemetry(), deaths)
    path = record.save(dataset)
    assert re.fullmatch(r"_harvest/runs/20240506T070809\.000000Z-crawl\.json", path)
    text = (tmp_path / "d" / path).read_text()
    assert len(text) < 3000
    told = json.loads(text)
    assert told["configuration"]["select"]["columns"] == {"SeriesInstanceUID": "5000 values"}
    assert told["deaths"] == [{"process": 17, "fate": "signal 9", "at": "2024-05-06T07:08:09+00:00"}]
    assert told["rates"] == {
        "instances_per_second": 0.0,
        "requests_per_second": 1.5,
        "bytes_fetched_per_second": 5.0,
        "requests_per_instance": None,
        "bytes_fetched_per_instance": None,
    }


def test_every_line_of_a_json_log_is_an_object(demo: RecordedDemo, tmp_path: Path) -> None:
    toml = demo.toml(tmp_path, limits="processes = 2")
    result = run("crawl", toml, "--json", "--log-format", "json")
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert {"time", "level", "logger", "message"} <= set.intersection(*(set(line) for line in lines))
    assert lines[-1]["message"] == "done"
    assert lines[-1]["facts"] == json.loads(result.stdout)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_progress_is_served_as_metrics_while_a_crawl_runs(tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client")
    port = free_port()
    reached, opened = threading.Event(), threading.Event()

    async def wait(number: int) -> None:
        if number == 20:
            reached.set()
            await anyio.to_thread.run_sync(opened.wait, 60)

    with recorded_demo(hold=wait) as held:
        limits = "processes = 1\nconcurrency = 1\nshard_instances = 1"
        toml = held.toml(tmp_path, select=SELECTION, limits=limits)
        process = start("crawl", toml, "--metrics-port", str(port))
        try:
            assert reached.wait()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=300) as answer:
                text = answer.read().decode()
        finally:
            opened.set()
        assert ended(process).status == 0
    found = dict(re.findall(r"^harvester_(\w+) ([\d.e+]+)$", text, re.MULTILINE))
    assert 0 < float(found["instances"]) < float(found["expected_instances"])
    assert float(found["requests"]) >= float(found["instances"])
    assert float(found["bytes_fetched"]) > 0


def test_a_metrics_port_that_is_taken_is_one_line_and_status_2(demo: RecordedDemo, tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = run("crawl", demo.toml(tmp_path, select=SELECTION), "--metrics-port", port)
    assert result.status == 2
    (line,) = result.stderr.splitlines()
    assert f"--metrics-port {port}" in line
