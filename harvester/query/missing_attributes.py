"""The attributes that a query needs and its dataset lacks: they become columns and fields of NULLs."""

import re
from collections.abc import Set as AbstractSet
from typing import Final

import duckdb
import pyarrow as pa

from harvester.catalog.database import identifier
from harvester.errors import QueryError
from harvester.query.dictionary import attributes_by_keyword
from harvester.query.sql_types import absent_type, paths_of, sql_type, with_field

_MISSING: Final = re.compile(
    r'column "([^"]+)" (?:not found|does not exist|in \w+ list not found)'
    r'|table "([^"]+)" not found|a column named "([^"]+)"|find key "([^"]+)"',
    re.IGNORECASE,
)
_FIELD: Final = "find key"
_FIELDS_THERE: Final = re.compile(r'Candidate Entries: ((?:"[^"]+"(?:, )?)+)')
# Words of common queries: over columns that are there, these need no dictionary, which is slow to load.
_NO_ATTRIBUTES: Final = frozenset(
    re.findall(
        r"\w+",
        """1 all and as asc avg between by case count desc distinct else end failures filter frames from group
        having in instances is join like limit max min not null on or order select series studies sum then
        using when where with""",
    )
)


def missing_name(message: str) -> str | None:
    """The column, table or field that DuckDB's message says is not there."""
    found = _MISSING.search(message)
    return None if found is None else next(name for name in found.groups() if name)


def _fields_there(message: str) -> frozenset[str]:
    """The fields, of the items that lack one, which DuckDB's message proposes instead."""
    found = _FIELDS_THERE.search(message)
    return frozenset() if found is None else frozenset(re.findall(r'"([^"]+)"', found[1].lower()))


def attributes_in(sql: str) -> set[str]:
    """The keywords of attributes among the words of a query, for `run_query(..., attributes=...)`.

    A query of harvester's own reads each as a column, of NULLs where only items of sequences have it.
    """
    words = {word.lower() for word in re.findall(r"\w+", sql)}
    return {attributes_by_keyword()[word].keyword for word in words & attributes_by_keyword().keys()}


class AvailableColumns:
    """The columns of a dataset, and the attributes that it lacks and one query needs.

    Args:
        schema: The columns of the dataset.
        names: The words of the query, in lower case.
    """

    def __init__(self, schema: pa.Schema, names: AbstractSet[str]) -> None:
        self._types = {field.name: field.type for field in schema}
        self._own = dict(self._types)
        self.names = names

    def may_lack(self, words: AbstractSet[str]) -> bool:
        """Whether one of these words of the query, in lower case, is an attribute and no column."""
        others = words - {name.lower() for name in self._own} - _NO_ATTRIBUTES
        return bool(others) and not others.isdisjoint(attributes_by_keyword())

    def add(self, name: str, names: AbstractSet[str]) -> bool:
        """Add an absent attribute as a column, or where it is one as a field; False if neither is needed.

        Raises:
            QueryError: Its values are binary.
        """
        attribute = attributes_by_keyword().get(name.lower())
        if attribute is None:
            return False
        if attribute.keyword in self._types:
            return self.add_field(name, names)
        kind = absent_type(attribute)
        if kind is None:
            raise QueryError(
                f"{attribute.keyword} ({attribute.vr}) has no column, its values are binary; "
                "bulk_data and pixel_data_offset say where they lie"
            )
        self._types[attribute.keyword] = kind
        return True

    def add_missing(self, error: duckdb.Error, names: AbstractSet[str]) -> bool:
        """Add the attribute that DuckDB says is missing; False where it is none, or there already.

        Args:
            error: Of binding a query.
            names: The words of the query, in lower case: a field is added to the sequences among them.

        Raises:
            QueryError: Its values are binary.
        """
        missing = missing_name(str(error))
        if missing is None:
            return False
        if _FIELD not in str(error):
            return self.add(missing, names)
        return self.add_field(missing, names, _fields_there(str(error))) or self.add_field(missing, names)

    def refuse_nested(self, error: duckdb.Error) -> None:
        """Refuse a bare name that only items of sequences have: as a column it would be NULL in all rows.

        Raises:
            QueryError: The message shows how the field is written.
        """
        wanted = (missing_name(str(error)) or "").lower()
        if _FIELD in str(error) or any(column.lower() == wanted for column in self._types):
            return
        places = (place for column, kind in self._own.items() for place in paths_of(wanted, (column,), kind))
        found = min(places, key=lambda place: (len(place), place), default=None)
        if found is None:
            return
        *sequences, field = found
        first = ".".join([*(f"{sequence}[1]" for sequence in sequences), field])
        outer, joins = "", []
        for number, sequence in enumerate(sequences, start=1):
            joins.append(f"unnest({outer}{sequence}) AS t{number}(item{number})")
            outer = f"item{number}."
        raise QueryError(
            f"no object has {field} at its top level, but items of {'.'.join(sequences)} have it: "
            f"write {first} for the first item; for each, {outer}{field} and FROM ..., {', '.join(joins)}"
        )

    def add_column(self, name: str) -> None:
        """Add an attribute as a column, if there is none yet and its values are not binary."""
        attribute = attributes_by_keyword()[name.lower()]
        kind = absent_type(attribute)
        if attribute.keyword not in self._types and kind is not None:
            self._types[attribute.keyword] = kind

    def add_field(self, name: str, names: AbstractSet[str], beside: AbstractSet[str] = frozenset()) -> bool:
        """Add an absent attribute to the items of the sequences of these names that have certain fields."""
        attribute = attributes_by_keyword().get(name.lower())
        before = dict(self._types)
        if attribute is not None:
            for column in list(before):
                if column.lower() in names:
                    self._types[column] = with_field(column, before[column], attribute, names, beside)
        return self._types != before

    def without_added_fields(self, schema: pa.Schema) -> pa.Schema:
        """The columns of a view, those that no object has with the fields that items always have.

        Which sequence lacks a field, DuckDB does not say: all absent ones got the fields that were added.
        """
        absent = {
            name: attributes_by_keyword()[name.lower()] for name in self._types.keys() - self._own.keys()
        }
        kinds = {name: absent_type(attribute) for name, attribute in absent.items() if attribute.vr == "SQ"}
        return pa.schema([field.with_type(kinds.get(field.name) or field.type) for field in schema])

    @property
    def arrays(self) -> list[str]:
        """The columns that are arrays."""
        return [name for name, kind in self._types.items() if pa.types.is_list(kind)]

    def view(self, table: str, names: AbstractSet[str] | None = None) -> str:
        """A table with everything that was found to be needed.

        Args:
            table: A table with the columns of the dataset.
            names: Only columns of these names, in lower case; None: all.
        """
        columns = []
        for name, kind in self._types.items():
            column, own = identifier(name), self._own.get(name)
            if own is not None and names is not None and name.lower() not in names:
                continue
            value = column if own is not None else "NULL"
            columns.append(column if kind == own else f"CAST({value} AS {sql_type(kind)}) AS {column}")
        return f"SELECT {', '.join(columns)} FROM {table}"
