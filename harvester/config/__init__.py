"""What a TOML file may say of a crawl, and how it is read."""

from harvester.config.file import crawl_config, load, read_toml
from harvester.config.tables import (
    SELECT_KEYS,
    CrawlConfig,
    FrameEffort,
    FramesConfig,
    LimitsConfig,
    Provider,
    Scalar,
    ScheduleConfig,
    SelectConfig,
    SourceConfig,
)

__all__ = [
    "SELECT_KEYS",
    "CrawlConfig",
    "FrameEffort",
    "FramesConfig",
    "LimitsConfig",
    "Provider",
    "Scalar",
    "ScheduleConfig",
    "SelectConfig",
    "SourceConfig",
    "crawl_config",
    "load",
    "read_toml",
]
