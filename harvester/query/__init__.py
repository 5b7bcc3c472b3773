"""SQL over a dataset, in DuckDB's dialect or BigQuery's, and its results in the formats of many tools."""

from harvester.query.connection import DatabaseOptions, open_dataset, open_release
from harvester.query.idc_tables import INDEX_NAMES, index_query
from harvester.query.missing_attributes import attributes_in
from harvester.query.output import FORMATS, Format, write_result
from harvester.query.release_diff import changes, crawled_releases
from harvester.query.run import (
    DIALECTS,
    Dialect,
    Result,
    build_index,
    create_table,
    run_query,
    warn_of_missing_series,
)

__all__ = [
    "DIALECTS",
    "FORMATS",
    "INDEX_NAMES",
    "DatabaseOptions",
    "Dialect",
    "Format",
    "Result",
    "attributes_in",
    "build_index",
    "changes",
    "crawled_releases",
    "create_table",
    "index_query",
    "open_dataset",
    "open_release",
    "run_query",
    "warn_of_missing_series",
    "write_result",
]
