"""From a catalog, a manifest, a list of addresses or a folder to the series that a selection names."""

from harvester.catalog.base import Catalog
from harvester.catalog.folder import FolderCatalog
from harvester.catalog.listing import ListingCatalog
from harvester.config import CrawlConfig

__all__ = ["Catalog", "FolderCatalog", "ListingCatalog", "open_catalog"]


def open_catalog(config: CrawlConfig) -> Catalog:
    """Open what `[source]` names and apply `[select]`; close it, or use it in a `with`.

    Nothing is fetched but a catalog that is itself an http(s) address.

    Raises:
        ConfigError: The catalog, the manifest or a list cannot be read.
        SelectionError: The selection names a column or a value that is not there, or matches nothing.
    """
    if config.source.catalog == "local":
        return FolderCatalog.open(config)
    if config.source.catalog == "listing":
        return ListingCatalog.open(config)
    from harvester.catalog.table import TableCatalog  # noqa: PLC0415 - loads DuckDB, which no other needs

    return TableCatalog.open(config)
