"""What works on Windows, by simulation: no such machine is here (`simulated_windows` says what is played)."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import anyio
import pytest
from checkout import ROOT
from pydicom.data import get_testdata_file
from recorded_demo import RecordedDemo, recorded_demo

from harvester.engine.stop_signals import received_stop_signals
from harvester.model import ObjectRef

CT = str(get_testdata_file("CT_small.dcm"))


@pytest.fixture(scope="module")
def demo() -> Iterator[RecordedDemo]:
    with recorded_demo() as demo:
        yield demo


def run(*commands: list[str], encoding: str = "cp1252") -> str:
    """Run commands in one process; their output, and `== COMMAND: STATUS` after each."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "simulated_windows.py"), json.dumps(commands)],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
    )
    output = (done.stdout + done.stderr).decode(encoding)
    assert "Traceback" not in output, output
    return output


def test_a_crawl_in_one_process_and_its_dataset_work(demo: RecordedDemo, tmp_path: Path) -> None:
    toml = str(demo.toml(tmp_path, select='Modality = "CT"'))
    dataset = str(tmp_path / "dataset")
    sql = "SELECT count(*) AS n, any_value('日本') FROM instances"
    output = run(
        ["crawl", toml, "--json"],
        ["crawl", toml, "--json"],
        ["sql", "-d", dataset, sql, "--format", "json"],
        ["report", "-d", dataset, "-o", str(tmp_path / "report.html")],
        ["header", CT, "--json"],
        ["frames", CT],
        ["doctor", toml],
    )
    for command in ("crawl", "sql", "report", "header", "frames", "doctor"):
        assert f"== {command}: 0" in output, output
    first, second = (json.loads(line) for line in output.splitlines() if line.startswith('{"dataset"'))
    assert first["instances"] == second["skipped"] > 0
    assert r"\u65e5\u672c" in output  # cp1252 has no such character
    assert (tmp_path / "report.html").stat().st_size > 1000


def test_the_demo_serves_until_ctrl_c() -> None:
    with subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "simulated_windows.py"), '[["demo", "--port", "0"]]'],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        lines = dict(
            line.split(maxsplit=1) for line in iter(process.stdout.readline, "Stop it with Ctrl-C.\n")
        )
        with urlopen(lines["catalog"].strip()) as catalog:
            assert catalog.read(4) == b"PAR1"
        process.send_signal(signal.SIGINT)
        assert "== demo: 130" in process.stdout.read()


def test_more_than_one_process_is_refused_in_one_line(demo: RecordedDemo, tmp_path: Path) -> None:
    toml = str(demo.toml(tmp_path, select='Modality = "CT"', limits="processes = 2"))
    output = run(["crawl", toml])
    assert "harvester: limits.processes: 2: on Windows a crawl runs in one process; set 1" in output
    assert "== crawl: 2" in output


def test_signals_stop_a_crawl_where_event_loops_know_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")

    async def main() -> list[int]:
        with received_stop_signals() as signals:
            asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
            return [await anext(signals)]

    handler = signal.getsignal(signal.SIGINT)
    assert anyio.run(main) == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize(
    ("path", "key", "url"),
    [
        (r"C:\data\a b\1.dcm", "C:/data/a b/1.dcm", "file:///C:/data/a%20b/1.dcm"),
        (r"data\1.dcm", "data/1.dcm", "data/1.dcm"),
    ],
)
def test_paths_with_drives_and_backslashes(
    monkeypatch: pytest.MonkeyPatch, path: str, key: str, url: str
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    ref = ObjectRef.parse(path)
    assert (ref.key, ref.url) == (key, url)
    if ":" in path:
        assert ObjectRef.parse(url) == ref
