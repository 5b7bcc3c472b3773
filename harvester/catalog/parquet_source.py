"""Where the catalog's Parquet file is: in the idc-index release, on this machine, or behind an address."""

import shutil
import tempfile
import weakref
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from time import monotonic
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

import pyarrow as pa
import pyarrow.parquet as pq

from harvester.config import CrawlConfig
from harvester.errors import ConfigError

MAX_DOWNLOAD_BYTES = 4 * 1024**3
MAX_DOWNLOAD_SECONDS = 600.0
SILENCE_SECONDS = 30.0


@dataclass(frozen=True)
class ParquetSource:
    """A catalog's file, with what an idc-index release brings beside it.

    `prior_versions` lists series that earlier IDC releases had; `releases` lists IDC's releases.
    """

    name: str
    path: Path
    prior_versions: Path | None = None
    releases: Path | None = None
    folder: "DownloadFolder | None" = field(default=None, repr=False)

    @property
    def is_idc(self) -> bool:
        """Whether this is the installed idc-index release."""
        return self.prior_versions is not None

    def close(self) -> None:
        """Delete the file if it was downloaded."""
        if self.folder is not None:
            self.folder.close()


class DownloadFolder:
    """A temporary folder that goes when it is closed, forgotten, or when the process ends."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="harvester-catalog-"))
        self.close = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


def find_parquet(config: CrawlConfig) -> ParquetSource:
    """Find the file that `source.catalog` names, and download it if it is an address.

    Raises:
        ConfigError: It cannot be read, or is not a Parquet file.
    """
    catalog = config.source.catalog
    if catalog == "idc":
        return _installed()
    if "://" in catalog:
        folder = DownloadFolder()
        path = folder.path / "catalog.parquet"
        try:
            _download(catalog, path)
            _check_parquet(path, catalog)
        except (OSError, HTTPException) as error:
            folder.close()
            reason = error.reason if isinstance(error, URLError) else error
            if isinstance(error, HTTPError):
                error.close()
            raise ConfigError(f"{config.name}: source.catalog: {catalog}: {reason}") from None
        except ConfigError as error:
            folder.close()
            raise ConfigError(f"{config.name}: source.catalog: {error}") from None
        return ParquetSource(catalog, path, folder=folder)
    path = Path(catalog)
    try:
        _check_parquet(path, catalog)
    except OSError as error:
        raise ConfigError(f"{config.name}: source.catalog: {catalog}: {error.strerror}") from None
    except ConfigError as error:
        raise ConfigError(f"{config.name}: source.catalog: {error}") from None
    return ParquetSource(catalog, path)


def _installed() -> ParquetSource:
    """The Parquet files in idc-index-data; not through IDCClient, which starts subprocesses."""
    import idc_index_data  # noqa: PLC0415 - reads a dozen files, which other catalogs need not wait for

    path = idc_index_data.IDC_INDEX_PARQUET_FILEPATH
    prior = idc_index_data.PRIOR_VERSIONS_INDEX_PARQUET_FILEPATH
    if path is None or prior is None:
        raise ConfigError(
            f"idc-index-data {idc_index_data.__version__} brings no index; reinstall it with pip"
        )
    releases = idc_index_data.INDEX_METADATA.get("version_metadata_index", {}).get("parquet_filepath")
    return ParquetSource(
        name=f"idc-index-data {idc_index_data.__version__}",
        path=Path(path),
        prior_versions=Path(prior),
        releases=releases if isinstance(releases, Path) else None,
    )


def _check_parquet(path: Path, name: str) -> None:
    if any(letter in str(path) for letter in "*?["):
        raise ConfigError(f"{name}: a path with *, ? or [ would be read as a pattern; rename the file")
    try:
        pq.read_metadata(path)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        # A footer that Arrow cannot read is an OSError, too, without a number.
        raise ConfigError(f"{name}: is not a Parquet file, or not a whole one") from None


def _download(url: str, path: Path) -> None:
    """Fetch an address into a file, bounded in bytes, in time and in silence."""
    deadline = monotonic() + MAX_DOWNLOAD_SECONDS
    with _opener().open(Request(url), timeout=SILENCE_SECONDS) as answer, path.open("wb") as file:  # noqa: S310
        promised = answer.headers.get("Content-Length")
        total = 0
        while block := answer.read1(1 << 20):
            total += len(block)
            if total > MAX_DOWNLOAD_BYTES or monotonic() > deadline:
                raise ConfigError(
                    f"{url}: more than {MAX_DOWNLOAD_BYTES >> 30} GiB or {MAX_DOWNLOAD_SECONDS:.0f} s; "
                    "download it yourself and give its path"
                )
            file.write(block)
        if promised is not None and promised.isdigit() and int(promised) != total:
            raise ConfigError(f"{url}: the connection broke after {total} of {promised} bytes")


class _HttpOnly(HTTPRedirectHandler):
    """Follows redirects to http and https alone; urllib by itself would follow them to ftp."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if not newurl.lower().startswith(("http://", "https://")):
            raise HTTPError(
                newurl, code, f"redirected to {newurl[:100]!r}, which is not http(s)", headers, fp
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> OpenerDirector:
    """An opener that knows http and https only: no file, ftp or data addresses."""
    opener = OpenerDirector()
    for handler in (
        ProxyHandler(),
        HTTPHandler(),
        HTTPSHandler(),
        _HttpOnly(),
        HTTPDefaultErrorHandler(),
        HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener
