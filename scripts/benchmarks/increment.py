"""The time of a repeated crawl without changes, and after series have left the catalog."""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import duckdb
from making.dataset import make_dataset

HARVESTER = (sys.executable, "-c", "from harvester.cli import main; main()")
FINISHED = (0, 3)  # synthetic failures count as failures


@dataclass
class Counter:
    """A server in place of the clouds that only counts requests."""

    asked: list[str] = field(default_factory=list)

    def start(self) -> ThreadingHTTPServer:
        """Listen; the caller shuts it down."""
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_error(500)

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server


def main() -> None:
    """Write a dataset, crawl it repeatedly, and print the medians."""
    parser = argparse.ArgumentParser(prog="scripts/bench increment", description=__doc__)
    parser.add_argument("--instances", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "made"
        made = make_dataset(target, arguments.instances)
        print(f"a dataset of {made.instances:,} instances in {made.parts:,} parts")
        counter = Counter()
        server = counter.start()
        try:
            configure(target, f"http://127.0.0.1:{server.server_port}")
            measure("no change", target, counter, arguments.runs)
            left = drop_series(target)
            measure(f"a later release without {left:,} series", target, counter, arguments.runs, again=False)
        finally:
            server.shutdown()
            server.server_close()


def configure(target: Path, endpoint: str) -> None:
    """Direct the crawl to the counting server."""
    path = target.with_name("made.toml")
    text = path.read_text()
    path.write_text(text.replace("[source]\n", f'[source]\nprovider = "aws"\nendpoint = "{endpoint}"\n'))


def drop_series(target: Path) -> int:
    """Write the next release without every hundredth series; return their number."""
    catalog = target.with_name("made.catalog.parquet")
    following = target.with_name("next.parquet")
    with duckdb.connect() as connection:
        rows = f"(SELECT *, row_number() OVER (ORDER BY crdc_series_uuid) % 100 AS n FROM '{catalog}')"
        revised = "1 + max(series_revised_idc_version) OVER () AS series_revised_idc_version"
        connection.execute(
            f"COPY (SELECT * EXCLUDE (n) REPLACE ({revised}) FROM {rows} WHERE n > 0) "
            f"TO '{following}' (FORMAT parquet)"
        )
        before, after = (
            connection.execute(f"SELECT count(*) FROM '{file}'").fetchall()[0][0]
            for file in (catalog, following)
        )
    following.replace(catalog)
    return int(before) - int(after)


def measure(what: str, target: Path, counter: Counter, runs: int, *, again: bool = True) -> None:
    """Crawl; if it can be repeated, after one run to warm up."""
    marks = target / "_harvest" / "marks.parquet"
    before = marks.read_bytes() if marks.exists() else None
    seconds = []
    for run in range(runs + 1):
        if not again and before is not None:
            marks.write_bytes(before)  # the release is new again
        counter.asked.clear()
        started = time.perf_counter()
        done = subprocess.run(
            [*HARVESTER, "crawl", str(target.with_name("made.toml")), "--json"],
            check=False,
            capture_output=True,
            text=True,
            cwd=target.parent,
        )
        wall = time.perf_counter() - started
        if done.returncode not in FINISHED:
            raise RuntimeError(done.stderr)
        told = json.loads(done.stdout)
        if counter.asked or told["requests"] or told["instances"]:
            raise RuntimeError(f"{what}: {len(counter.asked)} requests, {told}")
        if run:
            seconds.append(wall)
    print(
        f"{what}: {statistics.median(seconds):.2f} s "
        f"(median of {runs}, {min(seconds):.2f} to {max(seconds):.2f}), 0 requests, "
        f"{told['skipped']:,} objects skipped"
    )


if __name__ == "__main__":
    main()
