"""The Arrow type of an attribute's column, which follows from the data dictionary alone.

So any two parts of a dataset unite by name. Only the fields of a sequence's items follow from the data: the
dictionary does not say which attributes an item may have.
"""

from typing import Final

import pyarrow as pa

from harvester.dicom.dictionary import Attribute

PERSON_NAME: Final = pa.struct(
    [("Alphabetic", pa.string()), ("Ideographic", pa.string()), ("Phonetic", pa.string())]
)
OTHER_ELEMENT: Final = pa.struct(
    [
        ("path", pa.string()),
        ("Tag", pa.string()),
        ("VR", pa.string()),
        ("Creator", pa.string()),
        ("Data", pa.list_(pa.string())),
    ]
)
BULK_DATA: Final = pa.struct(
    [("path", pa.string()), ("VR", pa.string()), ("offset", pa.int64()), ("length", pa.int64())]
)
INVALID_ELEMENT: Final = pa.struct(
    [("path", pa.string()), ("VR", pa.string()), ("text", pa.string()), ("reason", pa.string())]
)

_TYPES: Final[dict[str, pa.DataType]] = {
    **dict.fromkeys(("AE", "AS", "AT", "CS", "LO", "LT", "SH", "ST", "UC", "UI", "UR", "UT"), pa.string()),
    "DA": pa.date32(),
    "TM": pa.time64("us"),
    "DT": pa.timestamp("us"),
    **dict.fromkeys(("DS", "FD", "FL"), pa.float64()),
    **dict.fromkeys(("IS", "SS", "US", "SL", "UL", "SV"), pa.int64()),
    **dict.fromkeys(("US or SS", "US or OW", "US or SS or OW"), pa.int64()),
    "UV": pa.uint64(),
    "PN": PERSON_NAME,
}


def value_type(vr: str) -> pa.DataType | None:
    """The type of one value; None for binary values and sequences."""
    return _TYPES.get(vr)


def column_type(attribute: Attribute) -> pa.DataType | None:
    """The type of an attribute's column; None if its values are binary or items."""
    one = value_type(attribute.vr)
    return pa.list_(one) if one is not None and attribute.many else one
