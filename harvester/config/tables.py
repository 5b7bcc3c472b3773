"""The tables and keys of a crawl's TOML file, their defaults, and which keys exclude each other."""

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

from harvester.config.address import Address, CommandWord, WebhookAddress
from harvester.messages import did_you_mean

MiB = 1024 * 1024
FIRST_WINDOW_BYTES = 16 * 1024
READ_AHEAD_BYTES = 64 * 1024
LONGEST_WINDOW_BYTES = MiB

_SCHEDULER = re.compile(r"(tcp|tls)://[A-Za-z0-9_.\-\[\]:]{1,253}:[0-9]{1,5}")

Provider = Literal["aws", "gcs"]
Scalar = str | bool | int | float

FrameEffort = Literal["table", "tiff", "scan"]
PROVIDERS: tuple[Provider, ...] = ("aws", "gcs")
WORDS = ("idc", "listing", "local")
"""Values of `catalog` other than the path or URL of a Parquet file."""


def _as_tuple(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return tuple(value)
    return (value,)


class _Table(BaseModel):
    # Workers are sent models that were checked, and queries read none: neither needs pydantic's validators.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class SourceConfig(_Table):
    """[source]: the catalog of series, and the cloud whose copies are read.

    `catalog` is "idc" (the installed idc-index release), the path or http(s) URL of a Parquet file with the
    same columns, "listing" (of `select.urls` or `select.prefixes`) or "local" (`select.root`).
    Failover to the other cloud's copy is on for IDC's own pairs of buckets, and for others only if `failover`
    is true. `endpoint` replaces the first provider's address, path-style; failover is then off by default.
    `ca_bundle` is a file of PEM certificates to trust besides the system's. `credentials` "environment" signs
    requests with what botocore and google-auth find; `requester_pays` lets them be billed to its owner.
    """

    catalog: Address = Address("idc")
    provider: Annotated[tuple[Provider, ...], BeforeValidator(_as_tuple), Field(strict=False)] = ("aws",)
    failover: bool | None = None
    endpoint: Address | None = None
    ca_bundle: str | None = None
    credentials: Literal["none", "environment"] = "none"
    requester_pays: bool = False

    @field_validator("catalog")
    @classmethod
    def _check_catalog(cls, value: Address) -> Address:
        scheme, separator, _ = value.partition("://")
        if not value:
            raise ValueError(f"is empty; expected {', '.join(WORDS)}, a path or an http(s) URL")
        if separator and scheme not in ("http", "https"):
            raise ValueError(f"{value!r} has scheme {scheme!r}; expected http, https or a path")
        try:
            port_is_bad = bool(separator) and urlsplit(value.whole).port == 0
        except ValueError:
            port_is_bad = True
        if port_is_bad:
            raise ValueError(f"{value!r} is not a URL; a user and a password are percent-encoded in it")
        return value

    @field_validator("provider")
    @classmethod
    def _check_provider(cls, value: tuple[Provider, ...]) -> tuple[Provider, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError("expected one or both of aws, gcs, each once")
        return value

    @field_validator("endpoint")
    @classmethod
    def _check_endpoint(cls, value: Address | None) -> Address | None:
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            port_is_bad = parts.port == 0
        except ValueError:
            raise ValueError(f"{value!r} is not a URL") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or port_is_bad:
            raise ValueError(f"{value!r} is not http://HOST[:PORT] or https://HOST[:PORT]")
        if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError(f"{value!r} has more than a host and a port; use {parts.scheme}://HOST:PORT")
        return Address(f"{parts.scheme}://{parts.netloc}")

    @property
    def providers(self) -> tuple[Provider, ...]:
        """The clouds whose copies are tried, in this order."""
        failover = self.endpoint is None if self.failover is None else self.failover
        others = tuple(name for name in PROVIDERS if name not in self.provider)
        return self.provider + others if failover else self.provider


class SelectConfig(_Table):
    """[select]: the series to harvest; a series must satisfy all keys.

    A key other than the fields below is a column of the catalog: a series' value must equal the key's value,
    or one of the values in its list. `columns` collects them; the catalog checks their names.
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
            raise ValueError("is empty; remove it, or set what it selects")
        return value


SELECT_KEYS = ("where", "manifest", "urls", "prefixes", "root")


def _values(key: str, value: object) -> tuple[Scalar, ...]:
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    if not values:
        raise ValueError(f"select.{key}: an empty list selects nothing; remove it, or list values")
    return tuple(_scalar(key, item) for item in values)


def _scalar(key: str, value: object) -> Scalar:
    if isinstance(value, (date, datetime, time)):
        return value.isoformat()
    if isinstance(value, (str, bool, int, float)):
        return value
    kind = "a table" if isinstance(value, Mapping) else f"a {type(value).__name__}"
    # pydantic collects ValueError only
    raise ValueError(f"select.{key}: expected a value or a list of values, not {kind}")


class LimitsConfig(_Table):
    """[limits]: ceilings on processes, requests, memory and time.

    `processes` 0 means one per core, or fewer for a small selection; 1 uses the crawl's main process alone.
    `concurrency` is the ceiling of each process; `requests_per_second` that of the whole crawl, where 0
    means that only the servers limit it. `first_window_bytes` is the length of an object's first range
    request, `read_ahead_bytes` the least length of each further one. `max_header_bytes` bounds one header.
    `timeout_seconds` bounds one request, `attempts` the attempts of a request at each provider;
    `patience_seconds` is how long a request waits for a server that is down. `hedge` sends a request a
    second time if it takes longer than 99 in 100 do (at most one request in 50), and uses the first response.
    A shard, the unit of commit, has at most `shard_instances` objects and `shard_header_bytes` of headers, as
    estimated. `engine` "dask" harvests on a Dask cluster: that of `scheduler` (`tcp://HOST:PORT`), or one
    started on this machine with `processes` workers. All limits are the same there. A crawl that ends merges
    the small parts of partitions that have many, if these are at least `compact_parts`; 0: never.
    """

    engine: Literal["processes", "dask"] = "processes"
    scheduler: str | None = None
    processes: int = Field(default=0, ge=0, le=1024)
    concurrency: int = Field(default=256, ge=1, le=4096)
    requests_per_second: float = Field(default=0, ge=0, le=1e6, allow_inf_nan=False)
    first_window_bytes: int = Field(default=FIRST_WINDOW_BYTES, ge=512, le=16 * MiB)
    read_ahead_bytes: int = Field(default=READ_AHEAD_BYTES, ge=512, le=16 * MiB)
    max_header_bytes: int = Field(default=64 * MiB, ge=1024, le=2048 * MiB)
    timeout_seconds: float = Field(default=60, gt=0, le=3600, allow_inf_nan=False)
    attempts: int = Field(default=5, ge=1, le=100)
    patience_seconds: float = Field(default=300, ge=0, le=86_400, allow_inf_nan=False)
    hedge: bool = False
    shard_instances: int = Field(default=2000, ge=1, le=1_000_000)
    shard_header_bytes: int = Field(default=64 * MiB, ge=1, le=16 * 1024 * MiB)
    compact_parts: int = Field(default=256, ge=0, le=1_000_000)

    @property
    def listing_concurrency(self) -> int:
        """How many listings run at once in each process; ranges get the other slots."""
        return max(1, self.concurrency // 4)

    @model_validator(mode="after")
    def _check_scheduler(self) -> "LimitsConfig":
        if self.scheduler is None:
            return self
        if self.engine != "dask":
            raise ValueError('limits.scheduler: needs engine = "dask"')
        if not _SCHEDULER.fullmatch(self.scheduler):
            raise ValueError(
                f"limits.scheduler: {self.scheduler!r} is not tcp://HOST:PORT or tls://HOST:PORT"
            )
        return self


class FramesConfig(_Table):
    """[frames]: whether the table `frames` is written, and how far to search for frame indexes.

    `index` is "table" (an object's offset tables), "tiff" (else the TIFF directory of a DICOM-TIFF file) or
    "scan" (else the fragments of its pixel data, all of which are read if they are small). Without `index`
    the table is not written.
    """

    index: FrameEffort | None = None


class ScheduleConfig(_Table):
    """[schedule]: when `harvester schedule` runs the crawl, and what it notifies.

    `cron` has five fields (minute, hour, day, month, weekday) in `time_zone`, as in Debian's cron: a run in
    an hour that the clock skips starts right after it. When a run ends, one JSON object is sent to `webhook`
    by POST and to `command` (a program and its arguments) on stdin; with `notify_on` "failure" only if the
    exit status is not 0.
    """

    cron: str
    time_zone: str = "UTC"
    webhook: WebhookAddress | None = None
    command: Annotated[tuple[CommandWord, ...], BeforeValidator(_as_tuple), Field(strict=False)] = ()
    notify_on: Literal["finish", "failure"] = "finish"

    @field_validator("cron")
    @classmethod
    def _check_cron(cls, value: str) -> str:
        if len(value.split()) != 5:
            raise ValueError(
                f"{value!r} does not have five fields: minute hour day-of-month month day-of-week"
            )
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
            raise ValueError(f"{value!r} is not a time zone of this machine{hint}") from None
        return value

    @field_validator("webhook")
    @classmethod
    def _check_webhook(cls, value: WebhookAddress | None) -> WebhookAddress | None:
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good or any(letter <= " " or letter == "\x7f" for letter in value):
            raise ValueError("is not an http:// or https:// URL")
        return value


class CrawlConfig(_Table):
    """A crawl: source, selection, limits and dataset.

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
        """The file that this was loaded from; None if it was made in Python."""
        return self._path

    @property
    def name(self) -> str:
        """Name of this configuration in messages: its file."""
        return "configuration" if self._path is None else str(self._path)

    @field_validator("dataset")
    @classmethod
    def _check_dataset(cls, value: str) -> str:
        scheme, separator, rest = value.partition("://")
        place, _, query = rest.partition("?")
        if separator and ("@" in place.partition("/")[0] or "@" in query):
            raise ValueError("holds a user or a password; credentials come from the environment")
        if separator and (scheme not in ("s3", "gs") or not rest.strip("/")):
            raise ValueError(f"{value!r} is not a directory, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX")
        return value

    @model_validator(mode="before")
    @classmethod
    def _infer_catalog(cls, document: Any) -> Any:
        """Set the catalog that a root or a list of URLs implies."""
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
        for contradiction in _contradictions(self.source.catalog, self.select):
            raise ValueError(contradiction)
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
    keys = " and ".join(allowed) + (" and columns" if "where" in allowed else "")
    for key in SELECT_KEYS:
        if getattr(select, key) and key not in allowed:
            yield f"select.{key}: source.catalog = {catalog!r} allows only {keys}{_remedy(key)}"
    if catalog in ("local", "listing"):
        for key in select.columns:
            yield f"select.{key}: source.catalog = {catalog!r} has no columns to select by, only {keys}"


def _remedy(key: str) -> str:
    catalogs = {"root": '"local"', "urls": '"listing"', "prefixes": '"listing"'}
    catalog = catalogs.get(key, '"idc" or a Parquet file')
    return f"; {key} needs source.catalog = {catalog}"
