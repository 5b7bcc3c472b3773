"""The race: nine kinds of file, read by harvester and by every other reader that can be installed."""

import argparse
import contextlib
import logging
import os
import platform
import statistics
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from itertools import cycle, islice
from pathlib import Path

from parse import CORPUS
from racing.files import KINDS, series
from racing.readers import READERS, Read, Reader

from harvester.dicom import ElementCache, Header, InstanceColumns, NeedMore, PlainFirstParser, PlainHeaders
from harvester.dicom.compiled import status
from harvester.dicom.header_limits import MAX_HEADER_BYTES
from harvester.engine.shard_task import collect_garbage_rarely

HEADERS = 64  # read between two calls of `finish`; new columns are made for as many at first sight
WINDOW = 1 << 16  # bytes that are read at first
LEAST_SECONDS = 0.02  # of CPU time that one figure measures


@dataclass(frozen=True)
class Round:
    """Seconds of CPU for a header, all measured one after the other; None: the reader cannot read it."""

    warm: float
    first_sight: float
    readers: dict[str, float | None]


def header_of(path: str, cache: ElementCache, headers: PlainHeaders) -> Header:
    """One file's header: its first bytes, and more where the parser needs them."""
    with open(path, "rb", buffering=0) as stream:  # noqa: PTH123  as quick as the others, which take a string
        parser = PlainFirstParser(headers, os.fstat(stream.fileno()).st_size, cache)
        answer = parser.feed(stream.read(WINDOW))
        while isinstance(answer, NeedMore):
            stream.seek(answer.start)
            answer = parser.feed(stream.read(max(answer.stop - answer.start, WINDOW)))
    return answer


def spent(work: Callable[[], object], headers: int) -> float:
    """Seconds of CPU for each of the headers that one call reads."""
    calls, started = 0, time.process_time()
    while (elapsed := time.process_time() - started) < LEAST_SECONDS or not calls:
        work()
        calls += 1
    return elapsed / calls / headers


def rounds(paths: list[str], readers: dict[str, Read], runs: int) -> Iterator[Round]:
    """Measure all readers in turn, several times, after one round to warm up."""
    many = list(islice(cycle(paths), HEADERS))
    columns, cache, headers = InstanceColumns(), ElementCache(), PlainHeaders(MAX_HEADER_BYTES)

    def warm() -> None:
        for path in many:
            columns.append(header_of(path, cache, headers))
        columns.finish()

    def first_sight() -> None:
        fresh = InstanceColumns()
        for path in many:
            fresh.append(header_of(path, ElementCache(), headers))
        fresh.finish()

    for number in range(runs + 1):
        measured = Round(
            spent(warm, HEADERS),
            spent(first_sight, HEADERS),
            {name: _spent_by(read, paths) for name, read in readers.items()},
        )
        if number:
            yield measured


def _spent_by(read: Read, paths: list[str]) -> float | None:
    try:
        read(paths[0])
    except Exception:  # noqa: BLE001  each reader has errors of its own; that it cannot read is printed
        return None
    return spent(lambda: [read(path) for path in paths], len(paths))


def report(name: str, paths: list[str], readers: list[Reader], measured: list[Round]) -> None:
    """Print one kind of file: microseconds a header, and the medians of the ratios of each round."""
    header = header_of(paths[0], ElementCache(), PlainHeaders(MAX_HEADER_BYTES))
    print(f"\n{name}: {header.header_bytes:,} bytes of header")
    for label, values in (
        ("harvester, warm", [one.warm for one in measured]),
        ("harvester, first sight", [one.first_sight for one in measured]),
    ):
        print(f"  {label:30} {'full, typed columns':20} {statistics.median(values) * 1e6:9.0f} us")
    for reader in readers:
        pairs = [(one, seconds) for one in measured if (seconds := one.readers[reader.name]) is not None]
        if not pairs:
            print(f"  {reader.name:30} {reader.delivers:20}    cannot read it")
            continue
        median = statistics.median(seconds for _, seconds in pairs)
        ahead = statistics.median(seconds / one.warm for one, seconds in pairs)
        at_first = statistics.median(seconds / one.first_sight for one, seconds in pairs)
        print(
            f"  {reader.name:30} {reader.delivers:20} {median * 1e6:9.0f} us"
            f"   harvester: {ahead:6.2f}x as fast, {at_first:6.2f}x at first sight"
        )


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Discard what the readers' native code writes to standard error about odd files."""
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def main() -> None:
    """Measure each kind of file, and print the figures with what they were measured on."""
    parser = argparse.ArgumentParser(prog="scripts/bench race", description=__doc__)
    parser.add_argument(
        "--corpus",
        type=Path,
        default=CORPUS if CORPUS.is_dir() else None,
        help="a folder of public test files; what it lacks is made",
    )
    parser.add_argument("--kind", choices=[kind.name for kind in KINDS], help="run only this kind of file")
    parser.add_argument(
        "--runs", type=int, default=7, help="the medians of this number of rounds are printed"
    )
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    readers = [reader for reader in READERS if reader.installed]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    print(
        f"commit {commit.stdout.strip() or 'unknown'}, Python {platform.python_version()},"
        f" {os.cpu_count()} cores; CPU time, {HEADERS} headers between two calls of finish,"
        f" medians of {arguments.runs} rounds; compiled core: {status()}"
    )
    names = packages_distributions()
    distributions = dict.fromkeys(names[reader.package][0] for reader in readers)
    print(", ".join(f"{name} {version(name)}" for name in distributions))
    missing = dict.fromkeys(reader.package for reader in READERS if not reader.installed)
    if missing:
        print(f"not installed (scripts/environment bench): {', '.join(missing)}")
    collect_garbage_rarely()  # as in every process that harvests; it makes the others faster, too
    with tempfile.TemporaryDirectory(prefix="race-benchmark-") as folder, silence():
        functions = {reader.name: reader.opened() for reader in readers}
        for number, kind in enumerate(KINDS):
            if arguments.kind not in (None, kind.name):
                continue
            paths = [str(path) for path in series(kind, arguments.corpus, Path(folder) / str(number))]
            report(kind.name, paths, readers, list(rounds(paths, functions, arguments.runs)))


if __name__ == "__main__":
    main()
