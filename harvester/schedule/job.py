"""A job: one configuration with a `[schedule]`, its command, and its due times."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim

from harvester.config import CrawlConfig, ScheduleConfig, crawl_config, read_toml
from harvester.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Job:
    """A scheduled crawl or audit.

    Attributes:
        path: The configuration, as an absolute path.
        command: The command that runs it.
        dataset: Jobs of one dataset run one after the other.
        schedule: When it runs, and who is notified.
    """

    path: Path
    command: Literal["crawl", "audit"]
    dataset: str
    schedule: ScheduleConfig

    def due_after(self, moment: datetime) -> datetime:
        """The first due time after a moment, in UTC."""
        zone = ZoneInfo(self.schedule.time_zone)
        return next(CronSim(self.schedule.cron, moment.astimezone(zone))).astimezone(UTC)

    def due_before(self, moment: datetime) -> datetime:
        """The last due time at or before a moment, in UTC."""
        zone = ZoneInfo(self.schedule.time_zone)
        just_after = datetime.fromtimestamp(int(moment.timestamp()) + 1, zone)
        return next(CronSim(self.schedule.cron, just_after, reverse=True)).astimezone(UTC)


def load_job(path: Path) -> Job:
    """Read a configuration's `[schedule]`.

    Raises:
        ConfigError: It has none, or the file is invalid; the rules of an audit are checked when it runs.
    """
    document = read_toml(path)
    is_audit = "audit" in document or "rules" in document
    own = {key: value for key, value in document.items() if not is_audit or key in CrawlConfig.model_fields}
    crawl = crawl_config(path, own)
    if crawl.schedule is None:
        raise ConfigError(f'{path}: has no schedule; add one: [schedule] cron = "0 3 * * *"')
    return Job(path.resolve(), "audit" if is_audit else "crawl", crawl.dataset, crawl.schedule)
