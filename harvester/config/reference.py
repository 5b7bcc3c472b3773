"""The meaning of every key of a crawl's configuration, and the JSON Schema for editors."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from harvester.config.tables import CrawlConfig

# Meaning and example of each key, by table.
_MEANINGS: Final[dict[str, dict[str, tuple[str, str]]]] = {
    "": {
        "dataset": ("where the dataset is: a directory, or a URL of a bucket", '"s3://my-bucket/lung-ct"'),
    },
    "source": {
        "catalog": (
            (
                '`"idc"` (the installed idc-index release), a Parquet file of its columns (path or URL), '
                '`"listing"` (of `select.urls` or `select.prefixes`), or `"local"` (`select.root`)'
            ),
            '"idc"',
        ),
        "provider": ("the cloud whose copies are read, or several in their order", '["gcs", "aws"]'),
        "failover": (
            "whether the other cloud's copy is read if the first fails; by default unless `endpoint` is set",
            "true",
        ),
        "endpoint": (
            "replaces the first provider's endpoint; requests are path-style",
            '"http://127.0.0.1:9000"',
        ),
        "credentials": (
            '`"none"`: anonymous; `"environment"`: signed requests',
            '"environment"',
        ),
        "requester_pays": (
            "whether the owner of the credentials pays for requests to buckets that ask it",
            "true",
        ),
        "ca_bundle": ("a file of certificates of authorities to trust, besides the usual ones", '"ca.pem"'),
    },
    "select": {
        "where": ("an SQL condition over the columns of the catalog", "\"SeriesDescription ILIKE '%lung%'\""),
        "manifest": ("an s5cmd manifest, or a list of URLs, of series to select", '"cohort.s5cmd"'),
        "urls": ("a file with one URL or path of an object in each line", '"urls.txt"'),
        "prefixes": ("prefixes in buckets; every object below them", '["s3://my-bucket/dicom/"]'),
        "root": ("a folder; every regular file below it, no device, pipe or socket", '"/data/dicom"'),
    },
    "limits": {
        "engine": ('`"processes"` on this machine, or `"dask"`: a Dask cluster', '"dask"'),
        "scheduler": (
            "the address of that cluster; without it, a cluster is started here",
            '"tcp://10.0.0.1:8786"',
        ),
        "processes": ("worker processes; 0: one per core, or fewer for a small crawl", "4"),
        "concurrency": ("the most requests at once in each process", "128"),
        "requests_per_second": ("the most requests that the whole crawl starts a second; 0: no limit", "500"),
        "first_window_bytes": ("the length of the first request of an object", "32768"),
        "read_ahead_bytes": ("the least length of each further request", "131072"),
        "max_header_bytes": ("an object with a longer header is a failure, `header_limit`", "134217728"),
        "timeout_seconds": ("for one request and its whole response", "30"),
        "attempts": ("attempts of a request at each provider, the first included", "8"),
        "patience_seconds": ("how long a request waits for a server that is down; 0: not at all", "60"),
        "hedge": ("whether a request that takes very long is sent a second time", "true"),
        "shard_instances": ("the most objects in a shard, the unit of commit", "1000"),
        "shard_header_bytes": ("the most bytes of headers in a shard, as estimated", "33554432"),
        "compact_parts": (
            "from how many small parts on the crawl merges them at its end; 0: never",
            "0",
        ),
    },
    "frames": {
        "index": (
            (
                'writes the table `frames`: `"table"` reads offset tables, `"tiff"` also TIFF directories, '
                '`"scan"` also objects with neither; by default it is not written'
            ),
            '"tiff"',
        ),
    },
    "schedule": {
        "cron": ("minute, hour, day, month, weekday", '"0 3 * * 1"'),
        "time_zone": ("the time zone of `cron`", '"America/New_York"'),
        "webhook": (
            "a URL that receives the result of a run as JSON, by POST",
            '"https://example.org/hooks/harvest"',
        ),
        "command": ("a program and its arguments; receives the result on stdin", '["mail-me", "--now"]'),
        "notify_on": ("after each run, or only after one with another exit status than 0", '"failure"'),
    },
}
_TYPES: Final = {str: "text", bool: "true or false", int: "whole number", float: "number"}


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a configuration.

    Attributes:
        table: Its table; empty for keys before the first table.
        name: Its name.
        kind: Its type, in words.
        default: Its default, as TOML; empty if there is none.
        meaning: What it sets.
        example: A value, as TOML.
    """

    table: str
    name: str
    kind: str
    default: str
    meaning: str
    example: str


def keys() -> Iterator[Key]:
    """Every key of a crawl's configuration, in the order of the tables."""
    for table, model in _tables():
        for name, field in model.model_fields.items():
            if name == "columns" or (not table and name in _MEANINGS):  # tables of their own
                continue
            meaning, example = _MEANINGS[table].get(name, ("", ""))
            default = "required" if field.is_required() else to_toml(field.default)
            yield Key(table, name, _kind(field.annotation), default, meaning, example)


def _tables() -> Iterator[tuple[str, type[BaseModel]]]:
    yield "", CrawlConfig
    for name, field in CrawlConfig.model_fields.items():
        model = next((one for one in (field.annotation, *get_args(field.annotation)) if _is_table(one)), None)
        if model is not None:
            yield name, model


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is Annotated:
        return _kind(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{to_toml(word)}`" for word in get_args(annotation))
    if get_origin(annotation) is tuple:
        return f"{_kind(get_args(annotation)[0])}, or a list"
    options = [one for one in get_args(annotation) if one is not NoneType]
    if options:
        return _kind(options[0])
    is_text = isinstance(annotation, type) and issubclass(annotation, str)
    return _TYPES.get(str if is_text else annotation, "value")


def to_toml(value: Any) -> str:
    """A value as TOML; nothing for None and for an empty list, which TOML files leave out."""
    if value is None or value is PydanticUndefined or value == ():
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(one if one.isprintable() else f"\\u{ord(one):04x}" for one in escaped) + '"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(to_toml(one) for one in value)}]" if len(value) != 1 else to_toml(value[0])
    return f"{value:g}" if isinstance(value, float) else str(value)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a crawl's configuration, with the meaning of each key, for editors."""
    schema = CrawlConfig.model_json_schema()
    models = {model.__name__: table for table, model in _tables()}
    for name, node in (*schema["$defs"].items(), (CrawlConfig.__name__, schema)):
        table = models.get(name)
        if table is None:
            continue
        for key, (meaning, _) in _MEANINGS[table].items():
            described = node["properties"].get(key)
            if described is None:
                continue
            if described.get("type") == "array":  # a single value may stand for a list of one
                described = {"anyOf": [described["items"], described]}
            node["properties"][key] = {**described, "description": meaning}
        if table == "select":  # any other key is a column of the catalog
            node["properties"].pop("columns")
            node["additionalProperties"] = {"type": ["string", "number", "boolean", "array"]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
