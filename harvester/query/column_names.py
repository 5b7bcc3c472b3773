"""The names of a result's columns: in errors, and in formats that know columns by name only."""

from collections.abc import Iterator
from contextlib import contextmanager

from harvester.catalog.database import identifier
from harvester.errors import QueryError


@contextmanager
def naming_column(column: str) -> Iterator[None]:
    """Name the column in the error of a value that has no text."""
    name = column if column.isidentifier() else identifier(column)
    try:
        yield
    except QueryError as error:
        raise QueryError(f"column {column}: {error}; write CAST({name} AS VARCHAR)") from error
    except (ValueError, OverflowError) as error:
        raise QueryError(
            f"column {column}: holds a value that cannot be shown ({error}); write CAST({name} AS VARCHAR)"
        ) from error


def distinct_names(names: tuple[str, ...]) -> list[str]:
    """Tell columns of the same name apart: `x`, `x_1`."""
    taken = set(names)
    seen: set[str] = set()
    distinct = []
    for name in names:
        fresh, number = name, 0
        while fresh in seen or (number and fresh in taken):
            number += 1
            fresh = f"{name}_{number}"
        seen.add(fresh)
        distinct.append(fresh)
    return distinct
