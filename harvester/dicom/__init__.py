"""DICOM without input or output: bytes in, values out."""

from harvester.dicom.columns import HeaderColumns
from harvester.dicom.element import RawElement
from harvester.dicom.element_cache import HeaderMemories, HeaderMemory
from harvester.dicom.header import Header
from harvester.dicom.limits import WalkLimits
from harvester.dicom.part10 import HeaderParser
from harvester.dicom.steps import NeedMore

__all__ = [
    "Header",
    "HeaderColumns",
    "HeaderMemories",
    "HeaderMemory",
    "HeaderParser",
    "NeedMore",
    "RawElement",
    "WalkLimits",
]
