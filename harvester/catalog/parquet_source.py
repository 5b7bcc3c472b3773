"""Finds the catalog's Parquet file: in idc-index, on this machine, or behind a URL."""

import tempfile
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from time import monotonic
from typing import Any, NoReturn
from urllib.error import HTTPError, URLError
from urllib.request import FTPHandler, HTTPSHandler, ProxyHandler, Request, build_opener

import pyarrow as pa
import pyarrow.parquet as pq

from harvester.config import CrawlConfig
from harvester.config.address import Address
from harvester.config.certificates import trusted_certificates
from harvester.config.proxies import Proxies
from harvester.errors import ConfigError

MAX_DOWNLOAD_BYTES = 4 * 1024**3
MAX_DOWNLOAD_SECONDS = 600.0
SILENCE_SECONDS = 30.0


@dataclass(frozen=True)
class ParquetSource:
    """A catalog's file.

    Attributes:
        name: Its name in messages.
        path: The file.
        prior_versions: The series of earlier IDC releases, from idc-index.
        releases: IDC's releases, from idc-index.
        folder: The temporary folder of a downloaded file.
    """

    name: str
    path: Path
    prior_versions: Path | None = None
    releases: Path | None = None
    folder: tempfile.TemporaryDirectory[str] | None = field(default=None, repr=False)

    @property
    def is_idc(self) -> bool:
        """Whether this is the installed idc-index release."""
        return self.prior_versions is not None

    def close(self) -> None:
        """Delete a downloaded file."""
        if self.folder is not None:
            self.folder.cleanup()


def find_parquet(config: CrawlConfig) -> ParquetSource:
    """Find the file of `source.catalog`, and download it if it is a URL.

    Raises:
        ConfigError: The file cannot be read, or is not a Parquet file.
    """
    catalog = config.source.catalog
    if catalog == "idc":
        return _installed()
    if "://" in catalog:
        folder = tempfile.TemporaryDirectory(prefix="harvester-catalog-", ignore_cleanup_errors=True)
        path = Path(folder.name, "catalog.parquet")
        try:
            _download(catalog, path, config.source.ca_bundle)
            _check_parquet(path, str(catalog))
        except (OSError, HTTPException) as error:
            folder.cleanup()
            if isinstance(error, HTTPError):
                error.close()
            reason = _reason(error, catalog)
            raise ConfigError(f"{config.name}: source.catalog: {catalog}: {reason}") from None
        except ConfigError as error:
            folder.cleanup()
            raise ConfigError(f"{config.name}: source.catalog: {error}") from None
        return ParquetSource(str(catalog), path, folder=folder)
    path = Path(catalog.whole)
    try:
        _check_parquet(path, catalog)
    except OSError as error:
        raise ConfigError(f"{config.name}: source.catalog: {catalog}: {error.strerror}") from None
    except ConfigError as error:
        raise ConfigError(f"{config.name}: source.catalog: {error}") from None
    return ParquetSource(str(catalog), path)


def _installed() -> ParquetSource:
    """The Parquet files in idc-index-data; IDCClient would start subprocesses."""
    import idc_index_data  # noqa: PLC0415 - reads a dozen files, which other catalogs need not wait for

    path = idc_index_data.IDC_INDEX_PARQUET_FILEPATH
    prior = idc_index_data.PRIOR_VERSIONS_INDEX_PARQUET_FILEPATH
    if path is None or prior is None:
        raise ConfigError(f"idc-index-data {idc_index_data.__version__} has no index; reinstall it with pip")
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
        # For an unreadable footer Arrow raises an OSError without errno.
        raise ConfigError(f"{name}: is not a Parquet file, or not a whole one") from None


def _download(url: Address, path: Path, ca_bundle: str | None) -> None:
    """Fetch a URL into a file, bounded in bytes, in time and in silence."""
    deadline = monotonic() + MAX_DOWNLOAD_SECONDS
    opener = build_opener(
        _NoFtp,
        _EnvironmentsProxies(Proxies.of_environment()),
        HTTPSHandler(context=trusted_certificates(ca_bundle)),
    )
    with opener.open(url.whole, timeout=SILENCE_SECONDS) as response, path.open("wb") as file:
        promised = response.headers.get("Content-Length")
        total = 0
        while block := response.read1(1 << 20):
            total += len(block)
            if total > MAX_DOWNLOAD_BYTES or monotonic() > deadline:
                raise ConfigError(
                    f"{url}: more than {MAX_DOWNLOAD_BYTES >> 30} GiB or {MAX_DOWNLOAD_SECONDS:.0f} s; "
                    "download it yourself and set its path"
                )
            file.write(block)
        if promised is not None and promised.isdigit() and int(promised) != total:
            raise ConfigError(f"{url}: the connection broke after {total} of {promised} bytes")


def _reason(error: OSError | HTTPException, url: Address) -> object:
    """Why a download failed, in words."""
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, ConnectionRefusedError):
        proxy = Proxies.of_environment().of(url.whole)
        where = "this address" if proxy is None else f"the proxy {proxy.host}:{proxy.port}"
        return f"nothing answers at {where} (connection refused); check the port, and that the server runs"
    return (isinstance(reason, OSError) and reason.strerror) or reason


class _EnvironmentsProxies(ProxyHandler):
    """Chooses the proxy of each request, also of redirected ones, as for objects."""

    def __init__(self, proxies: Proxies) -> None:
        super().__init__({})
        self._proxies = proxies

    def http_open(self, req: Request) -> Any:
        return self._open(req)

    def https_open(self, req: Request) -> Any:
        return self._open(req)

    def _open(self, req: Request) -> Any:
        proxy = self._proxies.of(req.full_url)
        # None: another handler opens the request.
        return None if proxy is None else self.proxy_open(req, str(proxy), req.type)


class _NoFtp(FTPHandler):
    """Refuses redirects to ftp, the only other scheme that urllib follows."""

    def ftp_open(self, req: Request) -> NoReturn:
        raise URLError(f"redirected to {str(Address(req.full_url))[:100]!r}, which is not http(s)")
