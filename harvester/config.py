"""What a crawl's TOML file may say: where to read from, what to select, how hard to work.

Which folder a relative path is read from: `dataset` from the current directory, as any command line
tool would; `catalog`, `manifest`, `urls` and `root` from the folder of the TOML file if they exist
there (so that a configuration travels with its manifest), else from the current directory.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from harvester.errors import ConfigError

MAX_FILE_BYTES = 64 * 1024 * 1024
"""A TOML file may hold a long list of UIDs; more than this belongs in a manifest."""

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


def nearest(name: str, options: Iterable[str], count: int = 3) -> list[str]:
    """The options that look most like a name, best first, whatever their case."""
    spelt: dict[str, str] = {}
    for option in options:
        spelt.setdefault(option.lower(), option)
    return [spelt[match] for match in get_close_matches(name.lower(), list(spelt), n=count, cutoff=0.55)]


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """The tail of a message about a misspelt name: the nearest valid ones, or all where they are few."""
    options = list(options)
    close = nearest(name, options)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; valid: {', '.join(options)}" if options and len(options) <= 16 else ""


def load(path: Path | str) -> CrawlConfig:
    """Read and check a crawl's TOML file.

    Args:
        path: The file. Relative paths in it are resolved as this module's docstring says.

    Raises:
        ConfigError: One line: the file, the dotted key, what is wrong and the nearest valid names.
    """
    return crawl_config(Path(path), read_toml(Path(path)))


def crawl_config(path: Path, document: dict[str, Any]) -> CrawlConfig:
    """Check what a TOML file says of a crawl.

    Args:
        path: The file; see `load`.
        document: What it holds, as `read_toml` returns it, less what is not a crawl's.

    Raises:
        ConfigError: As `load` does.
    """
    try:
        config = CrawlConfig.model_validate(_resolve_paths(path, document))
    except ValidationError as error:
        raise ConfigError(f"{path}: {_first_complaint(error)}") from None
    config._path = path  # noqa: SLF001 - pydantic's private attributes are set so
    return config


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file of bounded size.

    Raises:
        ConfigError: It is not there, cannot be read, or is not TOML.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        siblings = [str(file) for file in sorted(path.parent.glob("*.toml"))] if path.parent.is_dir() else []
        hint = nearest(str(path), siblings)
        raise ConfigError(f"{path}: no such file" + (f"; did you mean {hint[0]}?" if hint else "")) from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_FILE_BYTES // MiB} MiB; put long lists in a manifest")
    try:
        return tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8, as TOML has to be") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {one_line(str(error))}") from None
    except RecursionError:
        raise ConfigError(f"{path}: not TOML that can be read: nested too deep") from None


def _resolve_paths(path: Path, document: dict[str, Any]) -> dict[str, Any]:
    resolved = dict(document)
    for table, keys in (("source", ("catalog",)), ("select", ("manifest", "urls", "root"))):
        values = document.get(table)
        if isinstance(values, dict):
            resolved[table] = {
                key: _resolve(path, f"{table}.{key}", value) if key in keys else value
                for key, value in values.items()
            }
    return resolved


def _resolve(path: Path, key: str, value: object) -> object:
    """Make a relative path absolute: beside the TOML file where it exists there, else from here."""
    if not isinstance(value, str) or not value.strip() or "://" in value:
        return value
    if key == "source.catalog" and value in WORDS:
        return value
    if "\0" in value:
        raise ConfigError(f"{path}: {key}: a path cannot hold a NUL character")
    beside, here = path.resolve().parent / value, Path.cwd() / value
    for candidate in (beside, here):
        if candidate.exists():
            return str(candidate)
    hint = did_you_mean(value, WORDS) if key == "source.catalog" and "/" not in value else ""
    raise ConfigError(
        f"{path}: {key}: no such file or folder {value!r} in {beside.parent} or {here.parent}{hint}"
    )


def _first_complaint(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    location = [str(part) for part in problem["loc"] if part != "columns" and not isinstance(part, int)]
    key = ".".join(location)
    message = one_line(problem["msg"].removeprefix("Value error, "))
    if problem["type"] == "extra_forbidden":
        return f"{key}: unknown key{did_you_mean(location[-1], _keys_of(location[:-1]))}"
    if problem["type"] == "missing":
        return f"{key}: missing"
    if problem["type"] == "literal_error":
        value = problem["input"]
        return f"{key}: {_short(value)} is not valid{did_you_mean(str(value), _words_of(location))}"
    if problem["type"] == "value_error":
        return message if message.startswith(("select", "limits.")) or not key else f"{key}: {message}"
    return f"{key}: {message}, not {_short(problem['input'])}"


def _words_of(location: list[str]) -> tuple[str, ...]:
    if location[:2] == ["limits", "engine"]:
        return ("processes", "dask")
    return get_args(FrameEffort) if location[:1] == ["frames"] else PROVIDERS


def _keys_of(tables: list[str]) -> list[str]:
    model: type[BaseModel] = CrawlConfig
    for table in tables:
        annotation = model.model_fields[table].annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return list(model.model_fields)


def _short(value: object) -> str:
    text = one_line(repr(value))
    return text if len(text) <= 60 else text[:57] + "..."


def one_line(text: str) -> str:
    """The text on one line, as a message has to be."""
    return " ".join(text.split())
