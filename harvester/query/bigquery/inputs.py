"""What a query is translated with, without the parser: parameters, views, the names of IDC's tables."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import pyarrow as pa

ColumnsOf: TypeAlias = Callable[[str], pa.Schema | None]
"""The columns of a view; None where there is no such view."""

Parameters: TypeAlias = Mapping[str, Any]
"""The value of each query parameter, by its name without the @."""

NO_PARAMETERS: Final[Parameters] = {}
_SUFFIX: Final = re.compile(r"_view$|_v\d+$")


@dataclass(frozen=True, slots=True)
class Views:
    """The views that a query can read.

    Attributes:
        names: In lower case.
        columns_of: The columns of one of them.
    """

    names: Collection[str]
    columns_of: ColumnsOf


def table_name(name: str) -> str:
    """The name of a table without what older releases add: `dicom_all_view`, `dicom_pivot_v4`."""
    return _SUFFIX.sub("", name)
