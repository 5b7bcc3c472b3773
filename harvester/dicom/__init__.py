"""DICOM without input or output: bytes in, values out."""

from harvester.dicom.columns import HeaderColumns
from harvester.dicom.compiled.plain import PlainFirstParser, PlainHeaders
from harvester.dicom.element import RawElement
from harvester.dicom.element_cache import ElementCache, ElementCaches
from harvester.dicom.header import Header, NeedMore
from harvester.dicom.instance_columns import InstanceColumns
from harvester.dicom.part10 import HeaderParser

__all__ = [
    "ElementCache",
    "ElementCaches",
    "Header",
    "HeaderColumns",
    "HeaderParser",
    "InstanceColumns",
    "NeedMore",
    "PlainFirstParser",
    "PlainHeaders",
    "RawElement",
]
