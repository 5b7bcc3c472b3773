"""The catalogs of series: idc-index, a Parquet file, a list of URLs or prefixes, or a folder."""

from harvester.catalog.base import Catalog
from harvester.catalog.folder import FolderCatalog
from harvester.catalog.listing import ListingCatalog
from harvester.config import CrawlConfig

__all__ = ["Catalog", "FolderCatalog", "ListingCatalog", "open_catalog"]


def open_catalog(config: CrawlConfig) -> Catalog:
    """Open the catalog of `[source]` and apply `[select]`; close it, or use it in a `with`.

    Only a catalog behind an http(s) URL is fetched.

    Raises:
        ConfigError: The catalog, the manifest or a list cannot be read.
        SelectionError: The selection has an unknown column or value, or matches nothing.
    """
    if config.source.catalog == "local":
        return FolderCatalog.open(config)
    if config.source.catalog == "listing":
        return ListingCatalog.open(config)
    from harvester.catalog.table import TableCatalog  # noqa: PLC0415 - loads DuckDB, which no other needs

    return TableCatalog.open(config)
