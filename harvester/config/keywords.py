"""Builds a crawl's configuration from a TOML file, a mapping or keyword arguments."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, time
from pathlib import Path
from typing import Any, Final, TypeAlias

from harvester.config.file import crawl_config, read_toml
from harvester.config.tables import CrawlConfig, LimitsConfig, SourceConfig
from harvester.errors import ConfigError

ConfigLike: TypeAlias = str | Path | Mapping[str, Any] | None
"""A TOML file, a mapping of the same tables, or None: keyword arguments only."""

WITHOUT_FILE: Final = Path("configuration")  # the name in messages


def config_from(config: ConfigLike, keys: Mapping[str, Any]) -> CrawlConfig:
    """Build and check the configuration of a crawl.

    Args:
        config: The configuration to start from.
        keys: Keys that replace those of the configuration; see `document_from`.

    Raises:
        ConfigError: A key or a value is not valid.
    """
    path, document = document_from(config, keys)
    return crawl_config(path, document)


def document_from(
    config: ConfigLike, keys: Mapping[str, Any], tables: Mapping[str, Collection[str]] | None = None
) -> tuple[Path, dict[str, Any]]:
    """The tables of a configuration, with keyword arguments put into theirs.

    `dataset` and the names of whole tables replace these; `frames="tiff"` is `[frames] index`; the keys of
    `[source]` and `[limits]` go there; every other key is one of `[select]`.

    Args:
        config: The configuration to start from.
        keys: The keyword arguments. A path may stand for a text; an array, a column or any
            iterable for a list.
        tables: Further tables and their keys.

    Returns:
        The path that messages name, and the document.

    Raises:
        ConfigError: The file can't be read, or the configuration is of another type.
    """
    if config is None or isinstance(config, Mapping):
        path, document = WITHOUT_FILE, {key: _plain(value) for key, value in (config or {}).items()}
    elif isinstance(config, str | Path):
        path, document = Path(config), read_toml(Path(config))
    else:
        raise ConfigError(f"a configuration is a path or a mapping, not {type(config).__name__}")
    homes = {"source": SourceConfig.model_fields, "limits": LimitsConfig.model_fields, **(tables or {})}
    home_of = {key: table for table, names in homes.items() for key in names}
    whole = {*CrawlConfig.model_fields, *(tables or {}), "rules"}
    for key, value in keys.items():
        if value is None:
            continue
        if key == "frames" and isinstance(value, str):
            document["frames"] = {"index": value}
        elif key in whole:
            document[key] = _plain(value)
        else:
            table = home_of.get(key, "select")
            document[table] = {**document.get(table, {}), key: _plain(value)}
    return path, document


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    for name in ("tolist", "to_list", "to_pylist"):  # a column of NumPy or pandas, of Polars, of Arrow
        if hasattr(value, name):
            return _plain(getattr(value, name)())
    if isinstance(value, datetime) and value.time() == time():  # pandas has no dates, only their midnight
        return value.date()
    is_list = isinstance(value, Iterable) and not isinstance(value, str | bytes)
    return [_plain(one) for one in value] if is_list else value
