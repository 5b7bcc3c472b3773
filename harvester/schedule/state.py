"""What the schedule remembers between its runs: when each job was last due, began, ended, and how."""

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
        due: The time that it was for; until the first run, when the job was first seen. A run that found
            its dataset busy was for none: it is still due.
        started: When it began.
        ended: When it was over; None while it runs, or if it was killed.
        status: Its exit status.
        summary: What it said, in one line.
        busy: Whether another process was writing the dataset, so that nothing was done.
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
    """The last runs by configuration, in a file that is replaced at one stroke.

    Args:
        path: The file.
    """

    path: Path
    runs: dict[str, LastRun] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path | None = None) -> "State":
        """Read it; without a path from the user's folder for such things.

        Raises:
            ConfigError: The file is not one of ours, or cannot be read.
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
            raise ConfigError(f"{found}: is no record of a schedule; delete it to begin anew") from None

    def note(self, job: Path, run: LastRun) -> None:
        """Remember a run.

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
    """Where XDG's base directory specification puts what outlives a program and is no configuration."""
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local/state") / "harvester/schedule.json"
