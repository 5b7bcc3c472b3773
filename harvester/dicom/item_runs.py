"""Adds runs of items of one layout to the columns, column by column."""

import struct
from collections.abc import Callable
from itertools import repeat
from typing import Any

from harvester.dicom import header_limits
from harvester.dicom.column_tree import Column, Level
from harvester.dicom.context import HeaderContext
from harvester.dicom.element import Layout, Run
from harvester.dicom.long_lists import MIN_BYTES
from harvester.dicom.values import DECODERS, NUMBER_FORMATS, decode_counted


class ItemRuns:
    """Adds runs.

    Args:
        context: The position in the header.
        fill_missing: Fills the cells of a column before a row.
    """

    __slots__ = ("_context", "_fill_missing")

    def __init__(self, context: HeaderContext, fill_missing: Callable[[Column, int], None]) -> None:
        self._context = context
        self._fill_missing = fill_missing

    def add(self, level: Level, run: Run) -> list[str] | None:
        """Add items of one layout to their level; None, and none is added, if an element is not plain.

        Returns:
            The paths in an item of the elements that have no value.
        """
        rows = level.rows
        values = list(zip(*run.values, strict=True))
        empty: list[str] = []
        if self._add(level, run.layout, values, len(run), ("", empty)):
            return empty
        level.truncate(rows)
        return None

    def _add(
        self,
        level: Level,
        layout: Layout,
        values: list[tuple[bytes, ...]],
        count: int,
        empty: tuple[str, list[str]],
    ) -> bool:
        """Add `count` data sets with these values to a level; False if an element is not plain, or long.

        `empty` is the first part of the data set's paths, and the list for those of elements without a value.
        """
        row = level.rows
        level.rows += count
        prefix, paths = empty
        for tag, vr, index, layouts, _, length in layout:
            column = level.columns.get(tag)
            if column is None or len(column.values) > row:
                return False
            self._fill_missing(column, row)
            keyword = column.attribute.keyword
            if layouts is None:
                if vr is not column.usual_vr:
                    return False
                if not length:
                    column.values.extend(repeat(column.empty, count))
                    paths.append(prefix + keyword)
                elif length >= MIN_BYTES or not _extend(column, values[index], self._context):
                    return False
            elif column.level is None or len(layouts) != 1:
                return False
            else:
                start = column.level.rows
                column.values.extend(range(start, start + count))
                inner = (f"{prefix}{keyword}[0].", paths)
                if not self._add(column.level, layouts[0], values, count, inner):
                    return False
        return True


def _extend(column: Column, raws: tuple[bytes, ...], context: HeaderContext) -> bool:
    """Add values to a column; False if one is not valid or blank, and none was added."""
    cache, decode, many, vr = column.cache, column.decode, column.attribute.many, column.usual_vr or ""
    if vr in NUMBER_FORMATS and decode is DECODERS[vr]:
        return _extend_numbers(column.values, NUMBER_FORMATS[vr], raws, many=many)
    try:
        column.values += [cache[raw] for raw in raws]
    except KeyError:
        distinct = {}
        try:
            for raw in set(raws):
                values = decode_counted(decode, vr, raw, context)
                if not len(values) or (not many and len(values) > 1):
                    return False
                distinct[raw] = values if many else values[0]
        except (ValueError, OverflowError):
            return False
        column.values += [distinct[raw] for raw in raws]
        if len(distinct) < header_limits.MAX_CACHED_VALUES // 2:
            for raw, value in distinct.items():
                column.keep(raw, value)
    return True


def _extend_numbers(values: list[Any], letter: str, raws: tuple[bytes, ...], *, many: bool) -> bool:
    """Add binary numbers of the same length at once; False if they are not valid."""
    count, rest = divmod(len(raws[0]), struct.calcsize("<" + letter))
    if rest or (count > 1 and not many):
        return False
    numbers = struct.unpack(f"<{count * len(raws)}{letter}", b"".join(raws))
    values += map(list, zip(*[iter(numbers)] * count, strict=True)) if many else numbers
    return True
