"""What an agent can ask of a dataset: tables, columns, values, rows and addresses, all of them bounded."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, Final, Literal

import duckdb
import pyarrow as pa

from harvester.catalog.database import MEMORY, identifier
from harvester.errors import QueryError
from harvester.messages import did_you_mean, one_line
from harvester.query.attribute_units import UNITS
from harvester.query.cell_text import json_texts
from harvester.query.column_descriptions import column_description, hidden_tables, table_description
from harvester.query.connection import DatabaseOptions, open_dataset
from harvester.query.dictionary import attributes_by_keyword
from harvester.query.manifest_writer import manifest, manifest_urls
from harvester.query.run import Dialect, Result, run_query
from harvester.query.supersession import CURRENT

MOST_ROWS: Final = 1000
MOST_URLS: Final = 100_000
MOST_VALUES: Final = 1000

_MOST_COLUMNS: Final = 100
_MOST_CHARACTERS: Final = 200_000  # of all rows of a response, as JSON
_LONGEST_QUERY: Final = 100_000
_LONGEST_TYPE: Final = 400
_LONGEST_EXAMPLE: Final = 60
_EXAMPLE_ROWS: Final = 1000
_INTERRUPTED_EACH: Final = 0.2
# A table whose rows are computed by a long query has no examples.
_WITH_EXAMPLES: Final = ("instances", "dicom_all", "frames", "failures", "idc_index", "index", "series")


class AgentTools:
    """A dataset open for an agent, read-only; its methods can be called from any thread, one at a time.

    Args:
        dataset: Directory or URL.
        seconds: The longest time for one call of a tool.

    Raises:
        DatasetError: It is not a dataset, or can't be read.
    """

    def __init__(self, dataset: str | Path, seconds: float = 60.0) -> None:
        self.location = str(dataset)
        self._connection = open_dataset(dataset, DatabaseOptions(memory=MEMORY, asked_often=True))
        self._seconds = seconds
        self._lock = Lock()

    def close(self) -> None:
        """Close the dataset."""
        self._connection.close()

    def stop(self) -> None:
        """Stop the query that is running, from another thread."""
        self._connection.interrupt()

    def get_stats(self) -> dict[str, Any]:
        """How much the dataset holds.

        Raises:
            QueryError: It takes too long.
        """
        sql = f"""
            SELECT count(DISTINCT collection_id) AS collections, count(DISTINCT PatientID) AS patients,
                   count(DISTINCT StudyInstanceUID) AS studies, count(DISTINCT SeriesInstanceUID) AS series,
                   count(*) AS instances, COALESCE(sum(instance_size), 0) / 1e12 AS "size_TB",
                   (SELECT count(*) FROM failures) AS failures
            FROM instances WHERE {CURRENT}"""
        with self._bounded():
            ((row,), _) = self._rows(run_query(self._connection, sql), 1)
        return {"dataset": self.location, **row}

    def list_tables(self) -> dict[str, Any]:
        """The tables that run_sql can read, with what a row of each is. Call this before SQL."""
        with self._bounded():
            tables = self._tables()
        return {"tables": [{"name": name, "description": table_description(name)} for name in tables]}

    def get_table_schema(self, table: str, like: str = "*") -> dict[str, Any]:
        """The columns of a table, up to 100 of them: type, description, unit and some real values.

        Args:
            table: One of list_tables.
            like: Only columns with this in their names, or of this pattern with * and ?, in any letter case:
                tables of instances have hundreds of columns.

        Raises:
            QueryError: There is no such table, or it takes too long.
        """
        with self._bounded():
            name = self._table(table)
            described, _ = self._rows(
                run_query(self._connection, f"DESCRIBE SELECT * FROM {identifier(name)}")
            )
            pattern = like.lower() if set(like) & set("*?[") else f"*{like.lower()}*"
            found = [
                (str(row["column_name"]), str(row["column_type"]))
                for row in described
                if fnmatchcase(str(row["column_name"]).lower(), pattern)
            ]
            examples = self._examples(name, found[:_MOST_COLUMNS])
        columns = [
            {
                "name": column,
                "type": _shortened(kind, _LONGEST_TYPE),
                "description": column_description(name, column),
                **({"unit": UNITS[column]} if column in UNITS else {}),
                **({"examples": examples[column]} if column in examples else {}),
            }
            for column, kind in found[:_MOST_COLUMNS]
        ]
        return {
            "name": name,
            "description": table_description(name),
            "columns": columns,
            "column_count": len(found),
            "truncated": len(found) > len(columns),
        }

    def get_attribute_values(
        self, attribute: str, table: str = "instances", limit: int = 50
    ) -> dict[str, Any]:
        """The values of a column with their counts, most frequent first. Call this before a filter.

        Args:
            attribute: The column; of an array, the values of its items are counted.
            table: One of list_tables.
            limit: How many values, up to 1,000; `truncated` says whether there are more.

        Raises:
            QueryError: There is no such table or column, it holds items of a sequence, or it takes too long.
        """
        limit = _clamped(limit, MOST_VALUES)
        with self._bounded():
            source = f"FROM {identifier(self._table(table))}"
            value = identifier(attribute)
            kind = run_query(self._connection, f"SELECT {value} AS v {source} LIMIT 0").schema.field(0).type
            if pa.types.is_list(kind):
                if pa.types.is_struct(kind.value_type):
                    raise QueryError(f"{attribute} is a sequence: SELECT fields of unnest({attribute})")
                source = f"FROM (SELECT unnest({value}) AS v {source})"
                value = "v"
            sql = (
                f"SELECT {value} AS value, count(*) AS count {source} "
                f"GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {limit + 1}"
            )
            rows, truncated = self._rows(run_query(self._connection, sql), limit)
        unit = {"unit": UNITS[attribute]} if attribute in UNITS else {}
        return {"attribute": attribute, "table": table, **unit, "values": rows, "truncated": truncated}

    def run_sql(self, sql: str, max_rows: int = 100, dialect: Dialect = "duckdb") -> dict[str, Any]:
        """The rows of one read-only SELECT.

        Args:
            sql: The query.
            max_rows: How many rows, up to 1,000; `truncated` says whether there are more.
            dialect: duckdb, or bigquery for queries that IDC publishes.

        Raises:
            QueryError: It can't be run, or it takes too long.
        """
        max_rows = _clamped(max_rows, MOST_ROWS)
        with self._bounded():
            result = self._run(sql, dialect)
            rows, truncated = self._rows(result, max_rows)
        return {
            "columns": _distinct(result.columns),
            "rows": rows,
            "row_count": len(rows),
            "truncated": truncated,
            "max_rows": max_rows,
        }

    def explain_error(self, sql: str, dialect: Dialect = "duckdb") -> dict[str, Any]:
        """Whether a query can be run, why not, and which attributes it names that no object has.

        Args:
            sql: The query.
            dialect: As for run_sql.

        Raises:
            QueryError: It takes too long.
        """
        with self._bounded():
            try:
                result = self._run(sql, dialect)
            except QueryError as error:
                if "INTERRUPT" in str(error):
                    raise
                response: dict[str, Any] = {"valid": False, "error": one_line(str(error))}
            else:
                columns = [
                    {"name": name, "type": _shortened(str(kind), _LONGEST_TYPE)}
                    for name, kind in zip(result.columns, result.schema.types, strict=True)
                ]
                response = {"valid": True, "columns": columns[:_MOST_COLUMNS]}
                del result  # DuckDB 2 runs no other query until its rows are let go
            present = {
                str(name).lower()
                for name, *_ in self._connection.execute("DESCRIBE memory.main.instances").fetchall()
            }
        words = dict.fromkeys(word.lower() for word in re.findall(r"\w+", sql))
        known = attributes_by_keyword()
        absent = [known[word].keyword for word in words if word in known and word not in present]
        return {**response, "attributes_that_no_object_has_as_a_column": absent}

    def get_cohort_urls(
        self,
        sql: str,
        dialect: Dialect = "duckdb",
        form: Literal["urls", "s5cmd"] = "urls",
        limit: int = 100,
    ) -> dict[str, Any]:
        """The addresses of a cohort, each once, or a manifest of them; nothing is downloaded.

        Args:
            sql: A query with a column instance_url (instances) or series_aws_url (dicom_all, idc_index).
            dialect: As for run_sql.
            form: urls, or s5cmd for the lines that s5cmd's command run reads.
            limit: How many, up to 100,000.

        Raises:
            QueryError: It can't be run, has no such column, or takes too long.
        """
        limit = _clamped(limit, MOST_URLS)
        with self._bounded():
            urls = manifest_urls(self._run(sql, dialect), limit + 1)
        given = urls[:limit]
        lines = manifest(given, Path(f"cohort.{form}"))
        return {
            "returned": len(given),
            "truncated": len(urls) > limit,
            **({"urls": given} if form == "urls" else {"manifest": lines}),
        }

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        """Let one thread in, and stop what it runs after some time.

        The query is interrupted again and again: an interrupt between two queries has no effect.
        """
        done, late = Event(), Event()

        def stop() -> None:
            seconds = self._seconds
            while not done.wait(seconds):
                late.set()
                self._connection.interrupt()
                seconds = _INTERRUPTED_EACH

        with self._lock:
            watching = Thread(target=stop, daemon=True)
            watching.start()
            try:
                yield
            except (QueryError, duckdb.Error) as error:
                if late.is_set():
                    raise QueryError(
                        f"stopped after {self._seconds:g} s: aggregate, or read fewer columns or rows"
                    ) from error
                raise QueryError(one_line(str(error))) from error
            finally:
                done.set()
                watching.join()

    def _run(self, sql: str, dialect: Dialect) -> Result:
        if len(sql) > _LONGEST_QUERY:
            raise QueryError(f"the query has {len(sql):,} characters; the most are {_LONGEST_QUERY:,}")
        return run_query(self._connection, sql, dialect)

    def _tables(self) -> list[str]:
        shown = [str(name) for (name,) in self._connection.execute("SHOW TABLES").fetchall()]
        return sorted({*shown, *hidden_tables()})

    def _table(self, name: str) -> str:
        tables = self._tables()
        if name.lower() in tables:
            return name.lower()
        raise QueryError(f"there is no table {name!r}{did_you_mean(name, tables)}")

    def _rows(self, result: Result, most: int | None = None) -> tuple[list[dict[str, Any]], bool]:
        """The first rows, and whether there are more."""
        rows: list[dict[str, Any]] = []
        characters = 0
        for batch in result.batches():
            first = batch if most is None else batch.slice(0, most + 1 - len(rows))
            texts = [json_texts(column) for column in first.columns]
            for cells in zip(*(column.to_pylist() for column in texts), strict=True):
                characters += sum(map(len, cells))
                if most is not None and not rows and characters > _MOST_CHARACTERS:
                    raise QueryError(
                        f"the first row has {characters:,} characters; the most are {_MOST_CHARACTERS:,}: "
                        "name fewer columns, fields of a sequence, or left(column, 1000)"
                    )
                if most is not None and (len(rows) == most or (rows and characters > _MOST_CHARACTERS)):
                    return rows, True
                values = [json.loads(cell, parse_float=_number) for cell in cells]
                rows.append(dict(zip(_distinct(result.columns), values, strict=True)))
        return rows, False

    def _examples(self, table: str, columns: list[tuple[str, str]]) -> dict[str, list[Any]]:
        """Up to three values of each column that is no sequence, from the first rows."""
        names = [name for name, kind in columns if "STRUCT" not in kind]
        if table not in _WITH_EXAMPLES or not names:
            return {}
        values = (
            f"list_slice(list(DISTINCT left(CAST({name} AS VARCHAR), {_LONGEST_EXAMPLE}))"
            f" FILTER ({name} IS NOT NULL), 1, 3) AS {name}"
            for name in map(identifier, names)
        )
        sql = (
            f"SELECT {', '.join(values)} FROM (SELECT {', '.join(map(identifier, names))} "
            f"FROM {identifier(table)} LIMIT {_EXAMPLE_ROWS})"
        )
        ((row,), _) = self._rows(run_query(self._connection, sql))
        return {name: values for name, values in row.items() if values}


def _clamped(number: int, most: int) -> int:
    return max(1, min(number, most))


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _number(text: str) -> float | str:
    """A number as JSON's readers have it; as text where it would lose digits."""
    number = float(text)
    return number if Decimal(repr(number)) == Decimal(text) else text


def _distinct(names: tuple[str, ...]) -> list[str]:
    return [name if name not in names[:place] else f"{name}_{place}" for place, name in enumerate(names)]
