"""The records of runs, as far as they are read back: by a plan's estimate and by a report."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pydantic import AwareDatetime, NonNegativeFloat, NonNegativeInt, TypeAdapter, ValidationError

from harvester.dataset.paths import RUNS, is_owned
from harvester.dataset.storage import Storage
from harvester.messages import first_problem

_MAX_BYTES: Final = 16 << 20
_logger = logging.getLogger("harvester")


@dataclass(frozen=True, slots=True)
class RunTotals:
    """Counts, bytes and seconds of one run."""

    instances: NonNegativeInt
    failures: NonNegativeInt
    requests: NonNegativeInt
    bytes_fetched: NonNegativeInt
    seconds: NonNegativeFloat


@dataclass(frozen=True, slots=True)
class StoredSource:
    """Where a run read objects: its `[source]`, as far as it differs from the defaults."""

    endpoint: str | None = None


@dataclass(frozen=True, slots=True)
class StoredConfiguration:
    """The configuration of a run."""

    source: StoredSource = StoredSource()


@dataclass(frozen=True, slots=True)
class StoredRun:
    """One run as recorded in the dataset.

    Attributes:
        started_at: Start, with time zone.
        processes: Number of processes.
        totals: What it did.
        cpu_seconds: CPU time of all processes; None if workers were on other machines.
        configuration: What it was asked to do.
    """

    started_at: AwareDatetime
    processes: NonNegativeInt
    totals: RunTotals
    cpu_seconds: NonNegativeFloat | None = None
    configuration: StoredConfiguration = StoredConfiguration()


_RECORD: Final = TypeAdapter(StoredRun)


def read_runs(storage: Storage, newest: int) -> Iterator[tuple[str, StoredRun]]:
    """The path and content of the newest records, the newest first; one that is corrupt is left out.

    Args:
        storage: The dataset's files.
        newest: How many are read.

    Raises:
        DatasetError: The storage cannot be read.
    """
    sizes = {path: size for path, (size, _) in storage.stamps(RUNS).items() if is_owned(path)}
    for path in sorted(sizes, reverse=True)[:newest]:
        try:
            problem = f"{sizes[path]:,} bytes" if sizes[path] > _MAX_BYTES else ""
            if not problem:
                yield path, _RECORD.validate_json(storage.read(path))
        except ValidationError as error:
            problem = first_problem(error)
        if problem:
            _logger.warning("%s/%s: corrupt record of a run (%s); left out", storage.folder, path, problem)
