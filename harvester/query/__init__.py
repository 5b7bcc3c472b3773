"""SQL over a dataset, and its answers as a table, CSV, JSON or Parquet."""

from harvester.query.connection import Result, open_dataset, run_query
from harvester.query.output import FORMATS, Format, write_result

__all__ = ["FORMATS", "Format", "Result", "open_dataset", "run_query", "write_result"]
