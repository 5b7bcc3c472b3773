"""Runs one query, in either dialect, and streams its rows."""

import difflib
import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Final, Literal, get_args

import duckdb
import pyarrow as pa

from harvester import messages
from harvester.catalog.database import arrow_reader, first_row, identifier
from harvester.config import check_choice
from harvester.dataset import TABLES
from harvester.errors import QueryError
from harvester.query.bigquery.inputs import NO_PARAMETERS, Parameters
from harvester.query.dictionary import attributes_by_keyword
from harvester.query.idc_tables import INDEX_NAMES, derived_table
from harvester.query.missing_attributes import attributes_in, missing_name
from harvester.query.part_files import follow_files, lacks_file, missing_part
from harvester.query.sandbox import require_question
from harvester.query.sql_types import readable_type
from harvester.query.supersession import CURRENT
from harvester.query.temporary_views import bind, readable_views

Dialect = Literal["duckdb", "bigquery"]

DIALECTS: tuple[Dialect, ...] = get_args(Dialect)

_logger: Final = logging.getLogger("harvester")
_INDEX_TABLES: Final = frozenset(INDEX_NAMES[1:])  # `idc_index` in a query is the release's own

# DuckDB's unit of work: a smaller batch only splits it, a larger one costs memory on wide rows.
_BATCH_ROWS: Final = 2048
_RESOURCES: Final = (
    duckdb.InterruptException,
    duckdb.IOException,
    duckdb.OutOfMemoryException,
    duckdb.PermissionException,
)
# A query whose parts a compaction moves is run again.
_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class _Query:
    """A query as the user wrote it, and the connection that runs it."""

    connection: duckdb.DuckDBPyConnection
    sql: str
    dialect: Dialect
    parameters: Parameters
    attributes: Iterable[str] = ()

    def run(self) -> pa.RecordBatchReader:
        """Start it.

        Raises:
            QueryError: It is no query, or cannot be translated.
            duckdb.Error: DuckDB refuses it.
        """
        if not _INDEX_TABLES.isdisjoint(re.findall(r"\w+", self.sql.lower())):
            warn_of_missing_series(self.connection)
        sql, values = self.sql, self.parameters
        if self.dialect == "bigquery":
            from harvester.query.bigquery.translate import translate  # noqa: PLC0415  slow to import

            sql = translate(sql, readable_views(self.connection, sql), values)
            values = NO_PARAMETERS
        statements = require_question(self.connection, sql)
        bind(self.connection, sql, values, self.attributes)
        *before, last = statements
        for statement in before:
            self.connection.execute(statement)
        return arrow_reader(_readable(self.connection.sql(last, params=dict(values) or None)), _BATCH_ROWS)

    def run_again(self, error: Exception) -> pa.RecordBatchReader | None:
        """Start it again where it failed because a compaction moved parts; None: it failed otherwise."""
        return self.run() if self.have_parts_moved(error) else None

    def have_parts_moved(self, error: Exception) -> bool:
        """Whether it failed because a compaction moved parts, which are followed."""
        return lacks_file(error) and follow_files(self.connection)

    def failure(self, error: Exception) -> QueryError:
        """An error of DuckDB, in the words of the query's dialect."""
        missing = missing_part(self.connection) if lacks_file(error) else None
        if missing is not None:
            return missing
        if self.dialect == "duckdb" or _is_of_resources(error):
            return QueryError(plain_message(error).rstrip("!") + _did_you_mean(self.connection, str(error)))
        from harvester.query.bigquery.errors import own_words  # noqa: PLC0415  slow to import

        return QueryError(own_words(self._error_with_places() or str(error), self.sql))

    def _error_with_places(self) -> str | None:
        """The error of the same query with the user's places noted in it; None where binding finds none."""
        from harvester.query.bigquery.translate import translate  # noqa: PLC0415  slow to import

        views = readable_views(self.connection, self.sql)
        marked = translate(self.sql, views, self.parameters, with_places=True)
        try:
            self.connection.execute(f"EXPLAIN {marked}")
        except duckdb.Error as error:
            return str(error)
        return None


@dataclass(frozen=True, slots=True)
class Result:
    """The rows of a query, as a stream that can be read once.

    Attributes:
        columns: The columns' names; two can be equal.
    """

    columns: tuple[str, ...]
    _reader: pa.RecordBatchReader
    _query: _Query | None = None

    @property
    def schema(self) -> pa.Schema:
        """The columns' Arrow types."""
        return self._reader.schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Read the rows, batch by batch.

        Raises:
            QueryError: The query failed on the way.
        """
        reader, begun = self._reader, False
        try:
            while True:
                try:
                    batch = reader.read_next_batch()
                except StopIteration:
                    return
                # DuckDB's errors come through Arrow's stream as Arrow's, of which one is an OSError.
                except (duckdb.Error, pa.ArrowException, OSError) as error:
                    if self._query is None:
                        raise QueryError(plain_message(error)) from error
                    again = self._query.run_again(error)
                    if again is None:
                        raise self._query.failure(error) from error
                    if begun:
                        raise QueryError(
                            "the dataset was compacted while this query was read; run it again"
                        ) from error
                    reader = again
                    continue
                begun = True
                yield batch
        finally:
            reader.close()  # DuckDB 2 runs no other query on the connection before


def run_query(
    connection: duckdb.DuckDBPyConnection,
    sql: str,
    dialect: Dialect = "duckdb",
    parameters: Parameters = NO_PARAMETERS,
    attributes: Iterable[str] = (),
) -> Result:
    """Run one SELECT (or EXPLAIN, DESCRIBE, SUMMARIZE, PIVOT, ...) and stream its rows.

    An attribute that no object of the dataset has is NULL, whether it is a column or a field of a
    sequence's items.

    Args:
        connection: From `open_dataset`.
        sql: The text; it may end with a semicolon.
        dialect: `bigquery` translates it first; there it can be a script, whose last query counts.
        parameters: The values of its parameters, by name: `$name`, in BigQuery's dialect `@name`.
        attributes: Keywords of columns that it reads, NULL where the dataset lacks them. What is not named
            here is found one by one, and refused where only items of sequences have it.

    Raises:
        QueryError: It is no query, it cannot be translated, DuckDB refuses it, or a part is missing; for a
            name that neither the dataset nor DICOM's dictionary has, the message says which are similar.
    """
    check_choice("dialect", dialect, DIALECTS)
    query = _Query(connection, sql, dialect, parameters, attributes)
    for attempt in count():
        try:
            reader = query.run()
            break
        except (duckdb.Error, pa.ArrowException) as error:
            if attempt == _ATTEMPTS or not query.have_parts_moved(error):
                raise query.failure(error) from error
    return Result(tuple(reader.schema.names), reader, query)


def create_table(
    connection: duckdb.DuckDBPyConnection, name: str, sql: str, attributes: Iterable[str] = ()
) -> None:
    """Keep the rows of a query of harvester's own as a table of the connection.

    Args:
        connection: From `open_dataset`.
        name: The name of the table.
        sql: A SELECT.
        attributes: Keywords of columns that it reads, NULL where the dataset lacks them.

    Raises:
        QueryError: DuckDB refuses it, or a part is missing.
    """
    query = _Query(connection, sql, "duckdb", NO_PARAMETERS, attributes)
    for attempt in count():
        try:
            bind(connection, sql, attributes=attributes)
            connection.execute(f"CREATE TABLE {identifier(name)} AS {sql}")
            break
        except duckdb.Error as error:
            if attempt == _ATTEMPTS or not query.have_parts_moved(error):
                raise query.failure(error) from error


def build_index(connection: duckdb.DuckDBPyConnection, name: str) -> Result:
    """Make one of IDC's index tables, with the columns and types that its schema in the release has.

    `idc_index` takes the attributes from the headers, and licence, DOI and releases from the
    installed release, by SeriesInstanceUID. Where IDC's definition stops at what IDC lacks, such as
    another SOP class, its name is NULL.

    Args:
        connection: From `open_dataset`.
        name: One of `INDEX_NAMES`.

    Raises:
        QueryError: There is no such table, or the installed release defines it in a way that cannot
            be translated.
    """
    table = derived_table(name)
    sql = table.query(readable_views(connection, table.sql).columns_of)
    return run_query(connection, sql, attributes=attributes_in(sql))


def warn_of_missing_series(connection: duckdb.DuckDBPyConnection) -> None:
    """Log how many instances are in none of IDC's index tables, because they have no SeriesInstanceUID.

    Args:
        connection: From `open_dataset`; what it is reading ends.
    """
    sql = f"SELECT count(*) FROM memory.main.instances WHERE SeriesInstanceUID IS NULL AND {CURRENT}"
    with query_errors(connection):
        row = first_row(connection, sql)
    if row is not None and row[0]:
        _logger.warning(
            "%s without a SeriesInstanceUID: in none of IDC's index tables",
            messages.count(row[0], "instance"),
        )


@contextmanager
def query_errors(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Raise errors of DuckDB over the parts of a dataset as those of `run_query`."""
    try:
        yield
    except (duckdb.Error, QueryError) as error:
        missing = missing_part(connection) if lacks_file(error) else None
        if missing is not None:
            raise missing from error
        if isinstance(error, QueryError):
            raise
        raise QueryError(plain_message(error)) from error


def plain_message(error: Exception) -> str:
    """DuckDB's message on one line, without its excerpt, its guesses and the settings that are locked."""
    message = re.split(
        r"\n\nLINE |\nCandidate bindings|\n\nPossible solutions|\nBy default, this", str(error), maxsplit=1
    )[0]
    if "Out of Memory" in message:
        message += "; ask for fewer rows or columns at once"
    # If a thread fails, DuckDB interrupts the others, and sometimes reports the interrupt, not the cause.
    if message.startswith("INTERRUPT Error"):
        message += " Unless you stopped the query, something in it failed: run it again to see the reason"
    return " ".join(message.split())


def _readable(relation: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """A query whose values Arrow and Parquet can hold: an INTERVAL, for example, as text."""
    kinds = {place: (str(kind), readable_type(kind)) for place, kind in enumerate(relation.types, start=1)}
    if all(before == after for before, after in kinds.values()):
        return relation
    columns = (
        f"#{place}" if before == after else f"CAST(#{place} AS {after}) AS {identifier(name)}"
        for name, (place, (before, after)) in zip(relation.columns, kinds.items(), strict=True)
    )
    return relation.project(", ".join(columns))


def _is_of_resources(error: Exception) -> bool:
    """Whether an error is of the machine or the dataset, not of the query's words."""
    kinds = (
        duckdb.OutOfMemoryException,
        duckdb.InterruptException,
        duckdb.IOException,
        duckdb.PermissionException,
    )
    return isinstance(error, kinds) or "Out of Memory" in str(error) or "INTERRUPT Error" in str(error)


def _did_you_mean(connection: duckdb.DuckDBPyConnection, message: str) -> str:
    """The nearest names of the dataset, else of DICOM's dictionary, to the one that is missing."""
    missing = missing_name(message)
    if missing is None or missing.lower() in attributes_by_keyword():
        return ""
    of_dataset = {
        str(name).lower(): str(name)
        for view in (*TABLES, "dicom_all")
        for name, *_ in connection.execute(f"DESCRIBE memory.main.{view}").fetchall()
    }
    of_dicom = {name: attribute.keyword for name, attribute in attributes_by_keyword().items()}
    for known, likeness in ((of_dataset, 0.8), (of_dicom, 0.8), (of_dataset, 0.6)):
        if near := difflib.get_close_matches(missing.lower(), known, n=3, cutoff=likeness):
            return f"; did you mean {', '.join(known[name] for name in near)}?"
    return ""
