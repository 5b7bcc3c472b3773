"""Bounds on the memory and the time that one header may take; docs/parser.md has them in words."""

from typing import Final

# The walk.
MAX_HEADER_BYTES: Final = 64 << 20  # bytes that are read; values that are skipped do not count
MAX_ELEMENTS: Final = 2_500_000  # elements and items
MAX_IRREGULARITIES: Final = 100  # of the encoding that are listed in `invalid_elements`
MAX_DEPTH: Final = 64  # of nested sequences
MAX_KEPT_BINARY: Final = 1 << 16  # bytes of a binary value that is kept; a longer one is skipped
MAX_KEPT_VALUE: Final = 4 << 20  # bytes of any other value that is kept

# The columns. Parquet costs some kilobytes a column, however short.
MAX_ATTRIBUTES: Final = 5_000  # new columns that one header may add, at all levels
MAX_CELLS: Final = 30_000_000  # items times attributes, most of them empty
COUNT_CELLS_AFTER: Final = 4096  # items: fewer cannot have too many cells
MAX_COLUMNS: Final = 10_000  # of one part
MAX_COLUMN_DEPTH: Final = 20  # pyarrow opens no file with more than 32 levels, and each costs DuckDB time
MAX_EMPTY_ELEMENTS: Final = 1_000  # paths in `empty_elements`; `invalid_elements` has the number of the rest
MAX_CHARACTER_SETS: Final = 1_000  # different ones
MAX_PATH_CHARACTERS: Final = (
    64 << 20
)  # in all nested paths: eight bytes, nested deep, have a path of thousands

# The time of what is made one by one, in microseconds as `scripts/bench hostile` measures it.
MAX_WORK: Final = 6_000_000
ENTRY_WORK: Final = 4  # an entry of `OtherElements`, `bulk_data` or `invalid_elements`
INVALID_WORK: Final = 7  # an invalid value, besides its entry
VALUE_WORK: Final = 4  # a value in a list of texts
ESCAPE_WORK: Final = 12  # an escape sequence

# What is remembered of earlier headers.
MAX_CACHED_SEGMENTS: Final = 512  # of elements, for one series and encoding; a series needs some dozens
MAX_CACHED_SEGMENT_BYTES: Final = 8192
MAX_CACHED_SERIES: Final = 16
MAX_CACHED_VALUES: Final = 512  # decoded raw values of one column
MAX_CACHED_VALUE_BYTES: Final = 96
MAX_CACHED_ENTRIES: Final = 16_384  # of `OtherElements`
MAX_UNKNOWN_TAGS: Final = 10_000  # tags known to have no column
