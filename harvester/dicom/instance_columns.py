"""The `instances` columns of headers: plain ones go to the compiled core, the others to `HeaderColumns`."""

import pyarrow as pa

from harvester.dicom import header_limits
from harvester.dicom.columns import HeaderColumns
from harvester.dicom.compiled.interface import core
from harvester.dicom.compiled.plain import PlainElements, PlainRows
from harvester.dicom.header import Header


class InstanceColumns:
    """Columns with a row for each header: `append` each header, then `finish`."""

    def __init__(self) -> None:
        self._headers = HeaderColumns()
        self._plain: PlainRows | None = None
        self._odd_rows: list[int] = []  # the rows that are in `_headers`

    @property
    def rows(self) -> int:
        """The number of headers since the last `finish`."""
        return self._headers.rows + (0 if self._plain is None else self._plain.rows)

    @property
    def crowded(self) -> bool:
        """Whether to finish now, because the columns take more memory than the headers' length suggests."""
        plain = self._plain
        return self._headers.crowded or (
            plain is not None
            and (
                plain.width > header_limits.MAX_COLUMNS
                or plain.path_characters > header_limits.MAX_PATH_CHARACTERS
                or plain.cells > header_limits.MAX_CELLS // 4
            )
        )

    def append(self, header: Header) -> None:
        """Add one header's row: all of it, or nothing if anything is raised.

        Raises:
            HeaderLimitError: The header would take far more memory or time than its length suggests.
        """
        elements = header.elements
        if isinstance(elements, PlainElements):
            if self._append_plain(elements):
                return
            header = elements.header
        row = self.rows
        self._headers.append(header)
        self._odd_rows.append(row)

    def finish(self) -> dict[str, pa.Array]:
        """All columns by name, the rows as they were added; the next header begins new ones."""
        odd_rows, self._odd_rows = self._odd_rows, []
        if self._plain is None or not self._plain.rows:
            return self._headers.finish()
        plain_rows = self._plain.rows
        plain = self._plain.finish()
        if not odd_rows:
            return plain
        # Rows of the core come first, then the others.
        united = pa.concat_tables(
            [pa.table(plain), pa.table(self._headers.finish())], promote_options="permissive"
        )
        odd, places = set(odd_rows), (iter(range(plain_rows)), iter(range(plain_rows, len(united))))
        order = [next(places[row in odd]) for row in range(len(united))]
        ordered = united.take(pa.array(order, pa.int64())).combine_chunks()
        return {name: ordered[name] for name in ordered.column_names}

    def _append_plain(self, elements: PlainElements) -> bool:
        if self._plain is None:
            loaded = core()
            if loaded is None:
                return False
            self._plain = PlainRows(loaded)
        return self._plain.append(elements)
