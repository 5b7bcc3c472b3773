"""The same queries of a dataset of thousands of parts and of its compacted copy; what statistics skip."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

from asking.measuring import first_answer, measured, peak_of, rows_of, scanned
from asking.questions import A_SERIES, QUESTIONS
from harvester.dataset import Dataset
from harvester.query import open_dataset

_LINKED = ("instances", "frames", "failures")


def compact_copy(dataset: Path, target: Path) -> None:
    """Compact a copy of a dataset by the command, and print its time and memory."""
    target.mkdir(parents=True)
    for entry in dataset.iterdir():
        # Parts are immutable, so they are hard-linked. Records and the lock are not, so they are copied.
        copy = _link if entry.name in _LINKED else shutil.copy2
        shutil.copytree(entry, target / entry.name, symlinks=True, copy_function=copy)
    program = Path(sys.executable).with_name("harvester")
    started = time.perf_counter()
    command = [program, "compact", "-d", target, "--keep-hours", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        peak = peak_of(process)
        said = process.stderr.read() if process.stderr is not None else ""
    seconds = time.perf_counter() - started
    if process.returncode:
        raise ChildProcessError(said)
    print(f"{said.strip()}\n{seconds:.1f} s in total, peak memory {peak:,} MB")


def _link(source: str, target: str) -> str:
    """As shutil.copy2, without copying."""
    Path(target).hardlink_to(source)
    return target


def ask_both(dataset: Path, compacted: Path, runs: int) -> None:
    """Open both datasets, and run every query on both."""
    counts = [len(Dataset.open(one).parts("instances")) for one in (dataset, compacted)]
    print(f"\n{'seconds, median of ' + str(runs):52}{counts[0]:,} parts  compacted, {counts[1]:,}")
    opened = [first_answer(one, runs) for one in (dataset, compacted)]
    _line("open_dataset and a first result, in a new process", *(one for one, _ in opened))
    _line('`harvester sql -d DATASET "SELECT 1"` in all', *(whole for _, whole in opened))
    with open_dataset(dataset) as many, open_dataset(compacted) as few:
        ((series,),) = rows_of(few, A_SERIES)
        for question in QUESTIONS:
            sql = question.sql.replace("{series}", series)
            answers = [
                measured(lambda asked=asked, sql=sql: rows_of(asked, sql), runs) for asked in (many, few)
            ]
            if answers[0].rows != answers[1].rows:
                raise AssertionError(f"{question.name}: different rows after compaction")
            _line(question.name, *(answer.seconds for answer in answers))


def show_pruning(compacted: Path) -> None:
    """What is read with a condition on collection, modality or series, and without."""
    with open_dataset(compacted) as connection:
        ((series,),) = rows_of(connection, A_SERIES)
    one = f"SeriesInstanceUID = '{series}'"
    print("\navg(SliceLocation), in a new connection                    files     MB read        rows kept")
    for name, condition in (
        ("of all rows", "true"),
        ("WHERE collection_id = 'nlst'", "collection_id = 'nlst'"),
        ("WHERE Modality = 'PT'", "Modality = 'PT'"),
        ("WHERE SeriesInstanceUID = ...", one),
        ("WHERE SeriesInstanceUID = ... AND collection_id = 'nlst'", f"{one} AND collection_id = 'nlst'"),
        ("count(*) of all rows: what files say of themselves", None),
    ):
        asked = "count(*) FROM instances"
        if condition is not None:
            asked = f"avg(SliceLocation) FROM instances WHERE {condition}"
        with open_dataset(compacted) as connection:
            scan = scanned(connection, f"SELECT {asked}")
        files = f"{scan.files} of {scan.of_files}"
        print(f"  {name:56}{files:>11}{scan.bytes / 1e6:>9.1f}{scan.rows:>17,}")


def _line(name: str, before: float, after: float) -> None:
    print(f"  {name:52}{before:9.3f}{after:13.3f}{before / after:9.1f}x")
