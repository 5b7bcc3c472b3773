"""A crawl that is killed or interrupted at any request goes on from its commits: each instance once."""

import json
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from harvester_program import Ended, ended, run, start
from recorded_demo import RecordedDemo, recorded_demo
from request_gate import Gate

from harvester.dataset import Dataset

LIMITS = "concurrency = 4\nshard_instances = 8\nprocesses = {}"
SELECTION = "where = \"collection_id = 'pydicom_test_files'\""


@pytest.fixture(scope="module")
def gate() -> Gate:
    return Gate()


@pytest.fixture(scope="module")
def demo(gate: Gate) -> Iterator[RecordedDemo]:
    with recorded_demo(hold=gate) as demo:
        yield demo
        gate.open()


def addresses(dataset: Path) -> Counter[str]:
    """The addresses of all committed rows."""
    opened = Dataset.open(dataset)
    return Counter(
        address
        for kind in ("instances", "failures")
        for part in opened.parts(kind)  # type: ignore[arg-type]
        for address in pq.ParquetFile(dataset / part.path).read(["instance_url"])["instance_url"].to_pylist()
    )


def stopped(demo: RecordedDemo, gate: Gate, toml: Path, passing: int, by: signal.Signals) -> Ended:
    """Crawl until so many objects were asked for, and no further."""
    demo.forget()
    gate.close_at(passing)
    process = start("crawl", toml, "--json")
    assert gate.reached.wait()
    process.send_signal(by)
    result = ended(process)
    gate.open()
    return result


def finished(toml: Path) -> dict[str, object]:
    result = run("crawl", toml, "--json")
    assert result.status in (0, 3), result.stderr
    return json.loads(result.stdout)


def assert_whole(dataset: Path, expected: set[str]) -> None:
    """Every object once, and no file that nothing refers to."""
    assert addresses(dataset) == Counter(expected)
    opened = Dataset.open(dataset)
    committed = {part.path for kind in ("instances", "failures") for part in opened.parts(kind)}  # type: ignore[arg-type]
    there = {str(path.relative_to(dataset)) for path in dataset.rglob("*.parquet")}
    assert there == committed
    assert not list((dataset / "_harvest/unfinished").glob("*"))


@pytest.fixture(params=[2])
def toml(request: pytest.FixtureRequest, demo: RecordedDemo, tmp_path: Path) -> Path:
    return demo.toml(tmp_path, select=SELECTION, limits=LIMITS.format(request.param))


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return tmp_path / "dataset"


@pytest.fixture(scope="module")
def expected(demo: RecordedDemo, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The rows of an undisturbed crawl."""
    folder = tmp_path_factory.mktemp("undisturbed")
    finished(demo.toml(folder, select=SELECTION, limits=LIMITS.format(1)))
    return set(addresses(folder / "dataset"))


@pytest.mark.parametrize(
    ("toml", "points"),
    [pytest.param(1, (13, 29, 37), marks=pytest.mark.slow), (2, (1, 8, 64))],
    indirect=["toml"],
    ids=["one process", "two processes"],
)
def test_a_crawl_killed_three_times_has_every_instance_once(
    demo: RecordedDemo, gate: Gate, expected: set[str], toml: Path, dataset: Path, points: tuple[int, ...]
) -> None:
    done: set[str] = set()
    for point in points:
        assert stopped(demo, gate, toml, point, signal.SIGKILL).status == -signal.SIGKILL
        asked = {f"s3://{demo.address.bucket}/{key}" for key in demo.objects}
        assert not asked & done, "what is committed was asked for again"
        committed = addresses(dataset)
        assert set(committed.values()) <= {1}
        assert done <= committed.keys()
        done = set(committed)
    assert 0 < len(done) < len(expected)
    last = finished(toml)
    assert last["skipped"] == len(done)
    assert_whole(dataset, expected)
    assert finished(toml)["skipped"] == len(expected)
    assert_whole(dataset, expected)


@pytest.mark.parametrize(("toml", "by"), [(1, signal.SIGINT), (2, signal.SIGHUP)], indirect=["toml"])
def test_an_interrupted_crawl_says_so_and_goes_on_later(
    demo: RecordedDemo, gate: Gate, expected: set[str], toml: Path, dataset: Path, by: signal.Signals
) -> None:
    result = stopped(demo, gate, toml, 40, by)
    assert result.status == 130
    assert result.stdout == ""
    said = [line for line in result.stderr.splitlines() if line.startswith("harvester:")]
    assert said == ["harvester: interrupted; committed parts stay, and the same command continues from there"]
    assert "Traceback" not in result.stderr
    committed = addresses(dataset)
    assert 0 < len(committed) < len(expected)
    assert finished(toml)["skipped"] == len(committed)
    assert_whole(dataset, expected)


def test_a_second_signal_ends_a_crawl_at_once(
    demo: RecordedDemo, gate: Gate, expected: set[str], toml: Path, dataset: Path
) -> None:
    demo.forget()
    gate.close_at(40)
    process = start("crawl", toml, "--json")
    assert gate.reached.wait()
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    for line in process.stderr:
        if "a second signal stops at once" in line:
            break
    process.send_signal(signal.SIGTERM)
    result = ended(process)  # while no request is answered
    gate.open()
    assert (result.status, result.stdout) == (130, "")
    assert "Traceback" not in result.stderr
    committed = addresses(dataset)
    assert 0 < len(committed) < len(expected)
    assert finished(toml)["skipped"] == len(committed)
    assert_whole(dataset, expected)


def test_a_second_crawl_of_the_same_dataset_is_refused(
    demo: RecordedDemo, gate: Gate, expected: set[str], toml: Path, dataset: Path
) -> None:
    gate.close_at(len(demo.objects) + 20)
    first = start("crawl", toml, "--json")
    assert gate.reached.wait()
    second = run("crawl", toml, "--json")
    assert second.status == 2
    assert second.stdout == ""
    *_, line = second.stderr.splitlines()  # above it, how long a busy machine waits
    assert f"process {first.pid}" in line
    assert str(dataset) in line
    gate.open()
    assert ended(first).status in (0, 3)
    assert_whole(dataset, expected)
