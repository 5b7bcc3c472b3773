"""`harvester doctor`: checks what a crawl needs, and says why something does not work."""

import dataclasses
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit
from urllib.request import getproxies

import anyio
import typer

from harvester.catalog import open_catalog
from harvester.cli.options import JsonOption, show
from harvester.config import CrawlConfig, load
from harvester.config.address import Address
from harvester.config.operating_system import descriptor_limits
from harvester.dicom import compiled
from harvester.errors import HarvesterError
from harvester.messages import DISTRIBUTION, one_line, size
from harvester.model import VERSION
from harvester.store.diagnosis import Check, check_series
from harvester.store.open import StoreSettings

EPILOG: Final = "Examples: `harvester doctor`, `harvester doctor crawl.toml --json`"
_PACKAGES: Final = ("aiohttp", "duckdb", "idc-index-data", "pyarrow", "pydicom")
_LEAST_FREE_BYTES: Final = 1 << 30
# Connections, and the files of parts, of the database and of the program itself.
_OTHER_DESCRIPTORS: Final = 128
_CREDENTIALS: Final = (
    *(
        "AWS_ACCESS_KEY_ID",
        "AWS_PROFILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ),
    *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "GOOGLE_APPLICATION_CREDENTIALS"),
)
_CREDENTIAL_FILES: Final = (
    "~/.aws/credentials",
    "~/.aws/config",
    "~/.config/gcloud/application_default_credentials.json",
)
_TRUST: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE")


def command(
    config: Annotated[
        Path | None,
        typer.Argument(
            metavar="[CONFIG]",
            help="The TOML file of a crawl; without it, IDC's buckets at AWS and Google Cloud are checked.",
            show_default=False,
        ),
    ] = None,
    *,
    as_json: JsonOption = False,
) -> int:
    """Check versions, limits, disk space, credentials and proxies, and read a few bytes from each cloud.

    Of the first selected series one listing and one range of 1 KiB are requested from each provider. Secrets
    are not printed. Exit status: 0 if all checks pass, else 2.
    """
    checks = list(_local_checks())
    try:
        settings = _settings(config)
        checks += _limits(settings)
        checks += anyio.run(_network_checks, settings)
    except HarvesterError as error:
        checks.append(Check("configuration", str(config or "idc"), passed=False, detail=one_line(error)))
    passed = all(check.passed is not False for check in checks)
    if as_json:
        document = {"passed": passed, "checks": [dataclasses.asdict(check) for check in checks]}
        typer.echo(json.dumps(document))
    else:
        show("\n".join(_rows(checks)))
    return 0 if passed else 2


def _settings(config: Path | None) -> CrawlConfig:
    if config is not None:
        return load(config)
    return CrawlConfig.model_validate({"dataset": "data", "source": {"provider": ["aws", "gcs"]}})


def _local_checks() -> Iterator[Check]:
    system = f"Python {platform.python_version()}, {platform.system()} {platform.release()}"
    yield Check("version", DISTRIBUTION, passed=None, detail=f"{VERSION}, {system}")
    for name in _PACKAGES:
        try:
            yield Check("version", name, passed=None, detail=version(name))
        except PackageNotFoundError:
            yield Check("version", name, passed=False, detail=f"missing; pip install {DISTRIBUTION}")
    yield Check("version", "compiled core", passed=None, detail=compiled.status())
    yield _free_space("disk", Path(tempfile.gettempdir()))
    found = [name for name in _CREDENTIALS if os.environ.get(name)]
    found += [name for name in _CREDENTIAL_FILES if Path(name).expanduser().is_file()]
    detail = ", ".join(found) or "none; public buckets need none"
    yield Check("credentials", "environment", passed=None, detail=detail)
    for scheme, proxy in sorted(getproxies().items()):
        yield Check("proxy", scheme, passed=None, detail=str(Address(proxy)))
    for name in _TRUST:
        path = os.environ.get(name)
        if path:
            exists = Path(path).exists()
            detail = path if exists else f"{path} does not exist; correct it, or unset {name}"
            yield Check("certificates", name, passed=exists, detail=detail)


def _limits(settings: CrawlConfig) -> Iterator[Check]:
    if "://" not in settings.dataset:
        yield _free_space("disk", Path(settings.dataset))
    limits = descriptor_limits()
    if limits is None:
        return
    soft, hard = limits
    needed = settings.limits.concurrency + _OTHER_DESCRIPTORS
    is_enough = hard >= needed
    detail = f"{soft:.0f}, at most {hard:.0f}; {needed} are needed"
    if not is_enough:
        detail += "; raise it (ulimit -n), or lower limits.concurrency"
    yield Check("open files", "limit", passed=is_enough, detail=detail)


def _free_space(name: str, folder: Path) -> Check:
    existing = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    free = shutil.disk_usage(existing).free
    detail = f"{size(free)} free"
    if free < _LEAST_FREE_BYTES:
        return Check(name, str(existing), passed=False, detail=f"{detail}; a crawl needs about 1 GB")
    return Check(name, str(existing), passed=True, detail=detail)


async def _network_checks(settings: CrawlConfig) -> list[Check]:
    checks: list[Check] = []
    scheduler = settings.limits.scheduler
    if scheduler is not None:
        checks.append(await _check_scheduler(scheduler))
    with open_catalog(settings) as catalog:
        series = next(catalog.series(1))
        checks.append(Check("catalog", catalog.name, passed=True, detail=f"the first series is {series.key}"))
    source = settings.source
    store = StoreSettings(
        ca_bundle=source.ca_bundle, credentials=source.credentials, requester_pays=source.requester_pays
    )
    for prefix in series.prefixes:
        checks += await check_series(prefix, store, endpoint=source.endpoint)
    if not series.prefixes:
        checks.append(Check("source", series.key, passed=None, detail="names single objects; none is read"))
    return checks


async def _check_scheduler(address: str) -> Check:
    parts = urlsplit(address)
    try:
        with anyio.fail_after(10):
            async with await anyio.connect_tcp(parts.hostname or "", parts.port or 0):
                return Check("Dask scheduler", address, passed=True, detail="accepts connections")
    except (OSError, TimeoutError) as error:
        detail = f"{one_line(error) or 'no response'}; start it, or correct limits.scheduler"
        return Check("Dask scheduler", address, passed=False, detail=detail)


def _rows(checks: list[Check]) -> Iterator[str]:
    marks = {True: "ok", False: "FAILED", None: "-"}
    names, targets = (
        max(map(len, column)) for column in zip(*((c.name, c.target) for c in checks), strict=True)
    )
    for check in checks:
        took = f" ({check.seconds:.2f} s)" if check.seconds else ""
        mark = marks[check.passed]
        yield f"{mark:<7} {check.name:<{names}}  {check.target:<{targets}}  {check.detail}{took}"
    failed = sum(check.passed is False for check in checks)
    yield f"{failed} of {len(checks)} checks failed" if failed else f"all {len(checks)} checks passed"
