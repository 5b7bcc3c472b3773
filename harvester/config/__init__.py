"""The configuration of a crawl, read from a TOML file and checked."""

from harvester.config.arguments import check_choice, check_count
from harvester.config.file import crawl_config, load, read_toml
from harvester.config.keywords import ConfigLike, config_from, document_from
from harvester.config.tables import (
    FIRST_WINDOW_BYTES,
    LONGEST_WINDOW_BYTES,
    READ_AHEAD_BYTES,
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
    "FIRST_WINDOW_BYTES",
    "LONGEST_WINDOW_BYTES",
    "READ_AHEAD_BYTES",
    "SELECT_KEYS",
    "ConfigLike",
    "CrawlConfig",
    "FrameEffort",
    "FramesConfig",
    "LimitsConfig",
    "Provider",
    "Scalar",
    "ScheduleConfig",
    "SelectConfig",
    "SourceConfig",
    "check_choice",
    "check_count",
    "config_from",
    "crawl_config",
    "document_from",
    "load",
    "read_toml",
]
