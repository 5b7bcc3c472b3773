"""The attributes of DICOM's data dictionary, loaded when a query needs them: pydicom is slow to import."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harvester.dicom.dictionary import Attribute


def attributes_by_keyword() -> "Mapping[str, Attribute]":
    """Every attribute, by its keyword in lower case."""
    from harvester.dicom import dictionary  # noqa: PLC0415

    return dictionary.attributes_by_keyword()
