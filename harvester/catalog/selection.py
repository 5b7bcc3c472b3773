"""Turns the columns of `[select]` into SQL conditions, and checks their names and values."""

import duckdb
import pyarrow as pa

from harvester.catalog.database import add_table, first_row, identifier, literal
from harvester.config import SELECT_KEYS, CrawlConfig, Scalar
from harvester.errors import SelectionError
from harvester.messages import did_you_mean

LOOKALIKE = 0.8
"""Least Jaro-Winkler similarity of a value that is suggested for an unknown one."""


def conditions(
    connection: duckdb.DuckDBPyConnection, config: CrawlConfig, columns: dict[str, str], name: str
) -> list[str]:
    """Check the columns and values of `[select]`, and store the values in tables for the conditions.

    Values are not part of the SQL text, so their number and content are not restricted.

    Args:
        connection: A database with the catalog's rows in the view `series_rows`.
        config: The crawl.
        columns: The catalog's columns and their DuckDB types.
        name: The catalog's name in messages.

    Returns:
        One SQL condition for each column.

    Raises:
        SelectionError: A column does not exist, or no row has a value.
    """
    found: list[str] = []
    for number, (column, values) in enumerate(config.select.columns.items()):
        where = f"{config.name}: select.{column}"
        if column not in columns:
            hint = did_you_mean(column, [*columns, *SELECT_KEYS])
            raise SelectionError(f"{where}: {name} has no such column{hint}")
        kind = columns[column]
        if kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION")):
            raise SelectionError(f"{where}: holds {kind.lower()}, not single values; use select.where")
        table = f"selected_{number}"
        _keep_values(connection, table, values)
        _check_type(connection, table, kind, where)
        unknown = _check_values(connection, table, column, kind)
        if unknown is not None:
            raise SelectionError(f"{where}: {unknown} [{name}]")
        found.append(f"{identifier(column)} IN (SELECT TRY_CAST(value AS {kind}) FROM {identifier(table)})")
    return found


def _keep_values(connection: duckdb.DuckDBPyConnection, table: str, values: tuple[Scalar, ...]) -> None:
    texts = [str(value).lower() if isinstance(value, bool) else str(value) for value in values]
    add_table(connection, table, pa.table({"value": pa.array(dict.fromkeys(texts), pa.string())}))


def _check_type(connection: duckdb.DuckDBPyConnection, table: str, kind: str, where: str) -> None:
    row = first_row(
        connection,
        f"SELECT value FROM {identifier(table)} WHERE TRY_CAST(value AS {kind}) IS NULL LIMIT 1",
    )
    if row is not None:
        raise SelectionError(f"{where}: {row[0]!r} cannot be compared with a column of {kind.lower()}")


def _check_values(connection: duckdb.DuckDBPyConnection, table: str, column: str, kind: str) -> str | None:
    """A message about values that no row has, with the values most similar to the first of them."""
    present = f"(SELECT DISTINCT {identifier(column)} AS present FROM series_rows WHERE present IS NOT NULL)"
    unknown = connection.execute(
        f"SELECT value FROM {identifier(table)} WHERE TRY_CAST(value AS {kind}) NOT IN {present}"
    ).fetchall()
    if not unknown:
        return None
    value = str(unknown[0][0])
    likeness = f"jaro_winkler_similarity(lower(CAST(present AS VARCHAR)), {literal(value.lower())})"
    close = connection.execute(
        f"SELECT CAST(present AS VARCHAR) FROM {present} WHERE {likeness} > {LOOKALIKE} "
        f"ORDER BY {likeness} DESC, present LIMIT 3"
    ).fetchall()
    more = f" and {len(unknown) - 1:,} more values are" if len(unknown) > 1 else " is"
    hint = f"; did you mean {' or '.join(row[0] for row in close)}?" if close else ""
    return f"{value!r}{more} in no row{hint}"
