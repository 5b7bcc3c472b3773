"""The tables and keys of a crawl's TOML file, their defaults, and what may not stand beside what."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    field_validator,
    model_validator,
)

from harvester.messages import did_you_mean

MiB = 1024 * 1024

_SCHEDULER = re.compile(r"(tcp|tls)://[A-Za-z0-9_.\-\[\]:]{1,253}:[0-9]{1,5}")

Provider = Literal["aws", "gcs"]
Scalar = str | bool | int | float

FrameEffort = Literal["table", "tiff", "scan"]
PROVIDERS: tuple[Provider, ...] = ("aws", "gcs")
WORDS = ("idc", "listing", "local")
"""What `catalog` may be besides the path or the address of a Parquet file."""


def _as_tuple(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return tuple(value)
    return (value,)


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SourceConfig(_Table):
    """[source]: which catalog names the series, and which cloud's copy of them is read.

    `catalog` is "idc" (the installed idc-index release), the path or http(s) address of a Parquet file
    with the same columns, "listing" (of `select.urls` or `select.prefixes`) or "local" (`select.root`).
    `endpoint` replaces the first provider's address, path-style; then failover is off unless asked for.
    """

    catalog: str = "idc"
    provider: Annotated[tuple[Provider, ...], BeforeValidator(_as_tuple), Field(strict=False)] = ("aws",)
    failover: bool | None = None
    endpoint: str | None = None

    @field_validator("catalog")
    @classmethod
    def _check_catalog(cls, value: str) -> str:
        scheme, separator, _ = value.partition("://")
        if not value:
            raise ValueError(f"is empty; expected {', '.join(WORDS)}, a path or an http(s) URL")
        if separator and scheme not in ("http", "https"):
            raise ValueError(f"{value!r} has scheme {scheme!r}; expected http, https or a path")
        return value

    @field_validator("provider")
    @classmethod
    def _check_provider(cls, value: tuple[Provider, ...]) -> tuple[Provider, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError("expected one or both of aws, gcs, each once")
        return value

    @field_validator("endpoint")
    @classmethod
    def _check_endpoint(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            port_is_bad = parts.port == 0
        except ValueError as error:
            raise ValueError(f"{value!r} is not a URL: {error}") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or port_is_bad:
            raise ValueError(f"{value!r} is not http://HOST[:PORT] or https://HOST[:PORT]")
        if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError(f"{value!r} says more than a host and a port; give {parts.scheme}://HOST:PORT")
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def providers(self) -> tuple[Provider, ...]:
        """The clouds whose copies are tried, in that order."""
        failover = self.endpoint is None if self.failover is None else self.failover
        others = tuple(name for name in PROVIDERS if name not in self.provider)
        return self.provider + others if failover else self.provider


class SelectConfig(_Table):
    """[select]: what to harvest; all of it must hold.

    Any key that is not one of the fields below is a column of the catalog; its value, or one of the
    values in its list, must equal the series' (`columns` gathers them). The catalog judges their names.
    """

    where: str | None = None
    manifest: str | None = None
    urls: str | None = None
    prefixes: Annotated[tuple[str, ...], BeforeValidator(_as_tuple), Field(strict=False)] = ()
    root: str | None = None
    columns: dict[str, tuple[Scalar, ...]] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather_columns(cls, table: Any) -> Any:
        if not isinstance(table, Mapping):
            return table
        fields = {key: value for key, value in table.items() if key in SELECT_KEYS}
        given = table.get("columns")
        columns = dict(given) if isinstance(given, Mapping) else {}
        for key, value in table.items():
            if key not in SELECT_KEYS and not (key == "columns" and isinstance(given, Mapping)):
                columns[key] = value
        return {**fields, "columns": {key: _values(key, value) for key, value in columns.items()}}

    @field_validator("where", "manifest", "urls", "root")
    @classmethod
    def _check_text(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError("is empty; remove it, or say what it selects")
        return value


SELECT_KEYS = ("where", "manifest", "urls", "prefixes", "root")


def _values(key: str, value: object) -> tuple[Scalar, ...]:
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    if not values:
        raise ValueError(f"select.{key}: an empty list selects nothing; remove it, or say which values")
    return tuple(_scalar(key, item) for item in values)


def _scalar(key: str, value: object) -> Scalar:
    if isinstance(value, (date, datetime, time)):
        return value.isoformat()
    if isinstance(value, (str, bool, int, float)):
        return value
    kind = "a table" if isinstance(value, Mapping) else f"a {type(value).__name__}"
    # pydantic gathers ValueError only
    raise ValueError(f"select.{key}: expected a value or a list of values, not {kind}")


class LimitsConfig(_Table):
    """[limits]: ceilings on processes, requests, memory and time.

    `processes` 0 means one per core, or fewer where there is little to do; 1 is the crawl's own process.
    `concurrency` is each process's; `requests_per_second` (of the whole crawl) 0 means no limit but what
    the service answers. `first_window_bytes` is what the first request of an object asks for,
    `read_ahead_bytes` the least that each further one does. `max_header_bytes` bounds one object's header.
    `timeout_seconds` bounds one request, `attempts` how often it is tried at each provider. For
    `patience_seconds` a request waits for a server that is down. `hedge` asks a second time where an answer
    takes longer than 99 in 100 do, of at most one request in 50, and takes what comes first. A shard,
    the unit of commit, expects at most `shard_instances` objects and `shard_header_bytes` of headers.
    `engine` "dask" harvests on a Dask cluster: that of `scheduler` (`tcp://HOST:PORT`), else one that is
    started on this machine with `processes` workers. All limits are the same there.
    """

    engine: Literal["processes", "dask"] = "processes"
    scheduler: str | None = None
    processes: int = Field(default=0, ge=0, le=1024)
    concurrency: int = Field(default=256, ge=1, le=4096)
    requests_per_second: float = Field(default=0, ge=0, le=1e6, allow_inf_nan=False)
    first_window_bytes: int = Field(default=16 * 1024, ge=512, le=16 * MiB)
    read_ahead_bytes: int = Field(default=64 * 1024, ge=512, le=16 * MiB)
    max_header_bytes: int = Field(default=64 * MiB, ge=1024, le=2048 * MiB)
    timeout_seconds: float = Field(default=60, gt=0, le=3600, allow_inf_nan=False)
    attempts: int = Field(default=5, ge=1, le=100)
    patience_seconds: float = Field(default=300, ge=0, le=86_400, allow_inf_nan=False)
    hedge: bool = False
    shard_instances: int = Field(default=2000, ge=1, le=1_000_000)
    shard_header_bytes: int = Field(default=64 * MiB, ge=1, le=16 * 1024 * MiB)

    @model_validator(mode="after")
    def _check_scheduler(self) -> "LimitsConfig":
        if self.scheduler is None:
            return self
        if self.engine != "dask":
            raise ValueError('limits.scheduler: goes with engine = "dask"')
        if not _SCHEDULER.fullmatch(self.scheduler):
            raise ValueError(
                f"limits.scheduler: {self.scheduler!r} is not tcp://HOST:PORT or tls://HOST:PORT"
            )
        return self


class FramesConfig(_Table):
    """[frames]: whether the table `frames` is filled, and how far to go for it.

    `index` is "table" (the offset tables that an object has), "tiff" (or else the TIFF directory of a
    file that is both) or "scan" (or else by going through its pixel data, all of it where fragments are
    small). Without it no object is asked where its frames lie.
    """

    index: FrameEffort | None = None


class ScheduleConfig(_Table):
    """[schedule]: when `harvester schedule` runs this, and who is told how it went.

    `cron` has five fields (minute, hour, day, month, weekday) and is read in `time_zone`, as Debian's cron
    reads it: what falls into an hour that the clock skips runs right after it. `webhook` gets a POST, and
    `command` (a program and its arguments) gets on its stdin, one JSON object when a run has ended;
    `notify_on` "failure": only when its exit status is not 0.
    """

    cron: str
    time_zone: str = "UTC"
    webhook: str | None = None
    command: Annotated[tuple[str, ...], BeforeValidator(_as_tuple), Field(strict=False)] = ()
    notify_on: Literal["finish", "failure"] = "finish"

    @field_validator("cron")
    @classmethod
    def _check_cron(cls, value: str) -> str:
        if len(value.split()) != 5:
            raise ValueError(f"{value!r} has not five fields: minute, hour, day of month, month, day of week")
        try:
            next(CronSim(value, datetime(2024, 1, 1, tzinfo=UTC)))
        except (CronSimError, StopIteration) as error:
            raise ValueError(f"{value!r}: {error or 'never comes'}") from None
        return value

    @field_validator("time_zone")
    @classmethod
    def _check_time_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            hint = did_you_mean(value, available_timezones())
            raise ValueError(f"{value!r} is no time zone of this machine{hint}") from None
        return value

    @field_validator("webhook")
    @classmethod
    def _check_webhook(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good or any(letter <= " " or letter == "\x7f" for letter in value):
            raise ValueError("is not an http:// or https:// address")
        return value


class CrawlConfig(_Table):
    """A whole crawl: what is read from where, what of it, into which dataset.

    `dataset` is a directory or an `s3://` or `gs://` URL.
    """

    dataset: str = Field(min_length=1)
    source: SourceConfig = Field(default_factory=SourceConfig)
    select: SelectConfig = Field(default_factory=SelectConfig)
    limits: LimitsConfig = Field(default_factory=LimitsConfig)
    frames: FramesConfig = Field(default_factory=FramesConfig)
    schedule: ScheduleConfig | None = None
    _path: Path | None = PrivateAttr(default=None)

    @property
    def path(self) -> Path | None:
        """The file that this was loaded from; None where it was made in Python."""
        return self._path

    @property
    def name(self) -> str:
        """What messages call this configuration: its file."""
        return "configuration" if self._path is None else str(self._path)

    @field_validator("dataset")
    @classmethod
    def _check_dataset(cls, value: str) -> str:
        scheme, separator, rest = value.partition("://")
        if separator and (scheme not in ("s3", "gs") or not rest.strip("/")):
            raise ValueError(f"{value!r} is not a directory, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX")
        return value

    @model_validator(mode="before")
    @classmethod
    def _infer_catalog(cls, document: Any) -> Any:
        """Let a root or a list of addresses stand alone: they say which catalog is meant."""
        if not isinstance(document, Mapping):
            return document
        source, select = document.get("source", {}), document.get("select", {})
        if not isinstance(source, Mapping) or not isinstance(select, Mapping) or "catalog" in source:
            return document
        if "root" in select:
            return {**document, "source": {**source, "catalog": "local"}}
        if "urls" in select or "prefixes" in select:
            return {**document, "source": {**source, "catalog": "listing"}}
        return document

    @model_validator(mode="after")
    def _check_agreement(self) -> "CrawlConfig":
        for complaint in _contradictions(self.source.catalog, self.select):
            raise ValueError(complaint)
        return self


def _contradictions(catalog: str, select: SelectConfig) -> Iterable[str]:
    allowed: tuple[str, ...]
    if catalog == "local":
        allowed = ("root",)
        if select.root is None:
            yield 'select.root: missing; source.catalog = "local" needs the folder to read'
    elif catalog == "listing":
        allowed = ("urls", "prefixes")
        if select.urls is None and not select.prefixes:
            yield 'select: source.catalog = "listing" needs select.urls or select.prefixes'
    else:
        allowed = ("where", "manifest")
    known = " and ".join(allowed) + (" and columns" if "where" in allowed else "")
    for key in SELECT_KEYS:
        if getattr(select, key) and key not in allowed:
            yield f"select.{key}: source.catalog = {catalog!r} knows only {known}{_cure(key)}"
    if catalog in ("local", "listing"):
        for key in select.columns:
            yield f"select.{key}: source.catalog = {catalog!r} has no columns to select by, only {known}"


def _cure(key: str) -> str:
    catalogs = {"root": '"local"', "urls": '"listing"', "prefixes": '"listing"'}
    catalog = catalogs.get(key, '"idc" or a Parquet file')
    return f"; {key} goes with source.catalog = {catalog}"
