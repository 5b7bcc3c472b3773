"""The public functions `open_dataset` and `index`, and results as data frames, Arrow tables or HTML."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, Final, Self

import pyarrow as pa
from anyio import to_thread

from harvester.dataset.output_file import replaced_file
from harvester.errors import ConfigError, HarvesterError, without_frames
from harvester.query import connection as sql_connection
from harvester.query.bigquery.inputs import NO_PARAMETERS, Parameters
from harvester.query.output import write_result
from harvester.query.run import Dialect, Result, build_index, run_query, warn_of_missing_series

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

_SHOWN_ROWS: Final = 10
_LONGEST_CELL: Final = 120


class TableResult:
    """A result that is a table, for pandas, Polars, Arrow and notebooks."""

    def arrow(self) -> pa.Table:
        """All rows as an Arrow table; nested values stay nested."""
        raise NotImplementedError

    def head(self, rows: int = _SHOWN_ROWS) -> pa.Table:
        """The first rows as an Arrow table."""
        return self.arrow().slice(0, rows)

    def df(self) -> "pd.DataFrame":
        """All rows as a pandas DataFrame; nested values are arrays and dictionaries."""
        table = self.arrow()
        for place, column in enumerate(table.schema):
            if pa.types.is_decimal(column.type):  # DuckDB's sums of integers
                table = table.set_column(place, column.name, table[place].cast(pa.float64()))
        return table.to_pandas(date_as_object=False)

    def pl(self) -> "pl.DataFrame":
        """All rows as a Polars DataFrame.

        Raises:
            ConfigError: polars is not installed.
        """
        try:
            import polars  # noqa: ICN001, PLC0415  optional
        except ImportError:
            raise ConfigError("polars is not installed; pip install polars") from None
        frame = polars.from_arrow(self.arrow())
        return frame if isinstance(frame, polars.DataFrame) else frame.to_frame()

    def write(self, path: str | Path) -> None:
        """Write all rows to a file.

        Args:
            path: `*.parquet`, `*.csv` or `*.json` (one object a line).

        Raises:
            ConfigError: The suffix is another one, or the file can't be written.
        """
        path = Path(path)
        form = path.suffix.removeprefix(".")
        if form not in {"parquet", "csv", "json"}:
            raise ConfigError(f"{path}: name a file *.parquet, *.csv or *.json")
        table = self.arrow()
        with replaced_file(path, binary=form == "parquet") as stream:
            write_result(Result(tuple(table.column_names), table.to_reader()), form, stream)

    def _summary(self) -> str:
        return ""

    def _shown(self) -> pa.Table:
        """The rows that a notebook shows."""
        return self.head()

    def __str__(self) -> str:
        return self._summary() or repr(self)

    def __repr__(self) -> str:
        head, text = self._shown(), io.StringIO()
        write_result(Result(tuple(head.column_names), head.to_reader()), "table", text)
        return f"{self._summary()}\n{text.getvalue()}".strip()

    def _repr_html_(self) -> str:
        head = self._shown()
        names = "".join(f"<th>{escape(name)}</th>" for name in head.column_names)
        rows = "".join(
            f"<tr>{''.join(f'<td>{_cell(value)}</td>' for value in row)}</tr>"
            for row in zip(*(column.to_pylist() for column in head.columns), strict=True)
        )
        summary = "".join(f"<p>{escape(line)}</p>" for line in self._summary().splitlines())
        return f"{summary}<table><thead><tr>{names}</tr></thead><tbody>{rows}</tbody></table>"


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return escape(text if len(text) <= _LONGEST_CELL else f"{text[: _LONGEST_CELL - 1]}…")


class Table(TableResult):
    """A query of a dataset. It runs when its rows are read, and again each time.

    Made by the methods of `OpenDataset`.
    """

    def __init__(self, lock: RLock, run: Callable[[], Result]) -> None:
        self._lock = lock
        self._run = run

    @contextmanager
    def _result(self) -> Iterator[Result]:
        with self._lock:
            try:
                yield self._run()
            except HarvesterError as error:
                raise without_frames(error)  # noqa: B904  the same error

    def arrow(self) -> pa.Table:
        """All rows as an Arrow table; nested values stay nested.

        Raises:
            QueryError: The query can't be run.
        """
        with self._result() as result:
            return pa.Table.from_batches(result.batches(), result.schema)

    def head(self, rows: int = _SHOWN_ROWS) -> pa.Table:
        """The first rows as an Arrow table; the others are not read.

        Raises:
            QueryError: The query can't be run.
        """
        batches, missing = [], rows
        with self._result() as result:
            for batch in result.batches():
                batches.append(batch.slice(0, missing))
                missing -= batches[-1].num_rows
                if missing <= 0:
                    break
            return pa.Table.from_batches(batches, result.schema)


class OpenDataset:
    """A dataset open for SQL, read-only; made by `open_dataset`, and usable from several threads.

    Attributes:
        location: Directory or URL of the dataset.
    """

    def __init__(self, path: str | Path, owner: object = None) -> None:
        self.location = str(path)
        self._owner = owner  # a temporary dataset lives as long as its owner
        self._connection = sql_connection.open_dataset(path)
        self._lock = RLock()

    def sql(
        self, query: str, *, dialect: Dialect = "duckdb", parameters: Parameters = NO_PARAMETERS
    ) -> Table:
        """Query the dataset, with the tables and rules of `harvester sql`.

        An attribute that no object of the dataset has is NULL.

        Args:
            query: One SELECT.
            dialect: `bigquery` for queries that IDC publishes.
            parameters: The values of query parameters, by name: `$name`, in BigQuery's dialect `@name`.
        """
        return Table(self._lock, lambda: run_query(self._connection, query, dialect, parameters))

    def index(self, name: str) -> Table:
        """One of IDC's index tables, built from the dataset.

        Args:
            name: As `harvester index` lists them: `ct_index`, `sm_instance_index`, ...
        """

        def build() -> Result:
            warn_of_missing_series(self._connection)
            return build_index(self._connection, name)

        return Table(self._lock, build)

    def register(self, name: str, table: "pa.Table | pd.DataFrame | pl.DataFrame") -> None:
        """Make a table of your own that queries can read beside the dataset's, such as a cohort or labels.

        Args:
            name: Its name in SQL; a table registered before under this name is replaced.
            table: Arrow, pandas or Polars; it is copied into memory.

        Raises:
            QueryError: The dataset has a table of this name, or the columns have no place in SQL.
        """
        with self._lock:
            sql_connection.register(self._connection, name, pa.table(table))

    @property
    def instances(self) -> Table:
        """One row for each instance, one column for each attribute."""
        return self.sql("SELECT * FROM instances")

    @property
    def series(self) -> Table:
        """One row for each series."""
        return self.sql("SELECT * FROM series")

    @property
    def frames(self) -> Table:
        """One row for each instance with a frame index."""
        return self.sql("SELECT * FROM frames")

    @property
    def failures(self) -> Table:
        """One row for each object that could not be harvested, with the reason."""
        return self.sql("SELECT * FROM failures")

    def close(self) -> None:
        """Close the dataset; its tables can't be read any more."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        counts = self.sql(
            "SELECT count(*), count(DISTINCT SeriesInstanceUID), (SELECT count(*) FROM failures)"
            " FROM instances"
        ).arrow()
        instances, series, failures = (column[0].as_py() for column in counts.columns)
        return f"{self.location}: {instances:,} instances of {series:,} series, {failures:,} failures"


def open_dataset(path: str | Path) -> OpenDataset:
    """Open a dataset for SQL.

    Args:
        path: The dataset: a directory, `s3://BUCKET/PREFIX` or `gs://BUCKET/PREFIX`.

    Raises:
        DatasetError: It is not a dataset, or can't be read.
    """
    return OpenDataset(path)


def index(name: str, dataset: str | Path) -> Table:
    """Build one of IDC's index tables from a dataset, by the definitions in the installed idc-index.

    Args:
        name: `idc_index`, `ct_index`, `sm_instance_index`, ...: as `harvester index` lists them.
        dataset: Directory or URL of the dataset.

    Raises:
        DatasetError: It is not a dataset, or can't be read.
        QueryError: There is no such table; raised when the rows are read.
    """
    return open_dataset(dataset).index(name)


async def aopen_dataset(path: str | Path) -> OpenDataset:
    """Open a dataset as `open_dataset` does, for asynchronous callers; reading its tables blocks.

    Raises:
        DatasetError: As `open_dataset`.
    """
    return await to_thread.run_sync(open_dataset, path)


async def aindex(name: str, dataset: str | Path) -> Table:
    """Build an index table as `index` does, for asynchronous callers; reading its rows blocks.

    Raises:
        DatasetError: As `index`.
    """
    return await to_thread.run_sync(index, name, dataset)
