"""One configuration with a `[schedule]`: which command it is for, and when it is due."""

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
    """What is run by the clock.

    Attributes:
        path: The configuration, resolved.
        command: Which of harvester's commands it is for.
        dataset: Two jobs of one dataset do not run at the same time.
        schedule: When, and who is told.
    """

    path: Path
    command: Literal["crawl", "audit"]
    dataset: str
    schedule: ScheduleConfig

    def due_after(self, moment: datetime) -> datetime:
        """The first time after a moment, in UTC."""
        zone = ZoneInfo(self.schedule.time_zone)
        return next(CronSim(self.schedule.cron, moment.astimezone(zone))).astimezone(UTC)

    def due_before(self, moment: datetime) -> datetime:
        """The last time before a moment, or at it, in UTC."""
        zone = ZoneInfo(self.schedule.time_zone)
        just_after = datetime.fromtimestamp(int(moment.timestamp()) + 1, zone)
        return next(CronSim(self.schedule.cron, just_after, reverse=True)).astimezone(UTC)


def load_job(path: Path) -> Job:
    """Read a configuration's `[schedule]`.

    Raises:
        ConfigError: It has none, or the file is wrong; a wrong rule of an audit is told when it runs.
    """
    document = read_toml(path)
    is_audit = "audit" in document or "rules" in document
    crawl = crawl_config(path, {key: value for key, value in document.items() if _is_crawls(key, is_audit)})
    if crawl.schedule is None:
        raise ConfigError(f'{path}: has no schedule; give it one: [schedule] cron = "0 3 * * *"')
    return Job(path.resolve(), "audit" if is_audit else "crawl", crawl.dataset, crawl.schedule)


def _is_crawls(key: str, is_audit: bool) -> bool:  # noqa: FBT001
    return not is_audit or key in CrawlConfig.model_fields
