"""The state file of the schedule: when each job was last due, started and ended, and its result."""

import os
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from secrets import token_hex

from pydantic import TypeAdapter, ValidationError

from harvester.errors import ConfigError


@dataclass(frozen=True, slots=True)
class LastRun:
    """The last run of one job.

    Attributes:
        due: The due time of the run; before the first run, when the job was first seen. It does not change
            if the dataset was busy: the run is still due.
        started: Start time.
        ended: End time; None while it runs, or if it was killed.
        status: Exit status.
        summary: What it did: counts of a crawl, violated rules of an audit, else its last line on stderr.
        busy: Whether another process held the lock of the dataset, so that nothing was done.
    """

    due: datetime
    started: datetime | None = None
    ended: datetime | None = None
    status: int | None = None
    summary: str = ""
    busy: bool = False


_RECORD = TypeAdapter(dict[str, LastRun])


@dataclass(slots=True)
class State:
    """The last run of each job, by configuration, in a file that is replaced atomically."""

    path: Path
    runs: dict[str, LastRun] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path | None = None) -> "State":
        """Read the file; the default path is `default_path`.

        Raises:
            ConfigError: The file is invalid or cannot be read.
        """
        found = path or default_path()
        try:
            content = found.read_bytes()
        except FileNotFoundError:
            return cls(found)
        except OSError as error:
            raise ConfigError(f"{found}: cannot be read ({error.strerror or error})") from error
        try:
            return cls(found, _RECORD.validate_json(content))
        except ValidationError:
            raise ConfigError(
                f"{found}: is not the state file of a schedule; delete it to start again"
            ) from None

    def record(self, job: Path, run: LastRun) -> None:
        """Store the last run of a job.

        Raises:
            ConfigError: The file cannot be written.
        """
        self.runs[str(job)] = run
        temporary = self.path.with_name(f".{self.path.name}.{token_hex(4)}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(_RECORD.dump_json(self.runs, indent=1) + b"\n")
            temporary.replace(self.path)
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be written ({error.strerror or error})") from error


def default_path() -> Path:
    """The path in the state directory of the XDG Base Directory Specification."""
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local/state") / "harvester/schedule.json"
