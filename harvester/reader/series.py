"""Finds the objects of a series by its UID: one catalog query, one listing of a bucket."""

from contextlib import nullcontext
from pathlib import Path
from typing import get_args

from anyio import to_thread

from harvester.catalog import open_catalog
from harvester.catalog.clouds import is_series_uuid
from harvester.config import CrawlConfig, Provider, check_choice
from harvester.errors import ListingError, SelectionError
from harvester.fetch.series_listing import list_series
from harvester.model import Series
from harvester.reader.event_loop import LOOP, SETTINGS
from harvester.store.base import Store
from harvester.store.open import open_store


def series_urls(
    uid: str,
    provider: Provider = "aws",
    *,
    catalog: str | Path = "idc",
    endpoint: str | None = None,
    store: Store | None = None,
) -> list[str]:
    """The addresses of a series' objects, in the order of their keys.

    Args:
        uid: Its SeriesInstanceUID or its CRDC series UUID.
        provider: The cloud whose copy is listed: `aws` or `gcs`.
        catalog: The catalog that lists the series: `idc` is the installed idc-index release; else the path
            or URL of a Parquet file with the same columns.
        endpoint: Replaces the cloud's address: `http://HOST:PORT`.
        store: Replaces the shared store.

    Raises:
        SelectionError: The catalog does not hold the series.
        ListingError: The bucket cannot be listed, or holds fewer objects than the catalog counts.
        ConfigError: There is no such provider, or the catalog cannot be read.
    """
    found = _series(uid, provider, catalog)
    chosen = LOOP.store(endpoint) if store is None else store
    return LOOP.call(_listed, found, chosen)


async def aseries_urls(
    uid: str,
    provider: Provider = "aws",
    *,
    catalog: str | Path = "idc",
    endpoint: str | None = None,
    store: Store | None = None,
) -> list[str]:
    """List a series' objects as `series_urls` does, for asynchronous callers.

    Without a `store` each call has a connection pool of its own.

    Raises:
        HarvesterError: As `series_urls`.
    """
    found = await to_thread.run_sync(_series, uid, provider, catalog)
    async with nullcontext(store) if store is not None else open_store(SETTINGS, endpoint=endpoint) as chosen:
        return await _listed(found, chosen)


def _series(uid: str, provider: Provider, catalog: str | Path) -> list[Series]:
    check_choice("provider", provider, get_args(Provider))
    column = "crdc_series_uuid" if is_series_uuid(uid) else "SeriesInstanceUID"
    source = {"catalog": str(catalog), "provider": provider, "failover": False}
    document = {"dataset": "none", "source": source, "select": {column: uid}}
    with open_catalog(CrawlConfig.model_validate(document)) as opened:
        found = list(opened.series())
    if not found:
        raise SelectionError(f"{uid}: no such series in {catalog}")
    return found


async def _listed(found: list[Series], store: Store) -> list[str]:
    urls: list[str] = []
    for series in found:
        listed = await list_series(series, store)
        if listed.failure is not None:
            raise ListingError(listed.failure.message, url=listed.failure.url, status=listed.failure.status)
        urls += [one.ref.url for one in listed.objects]
    return urls
