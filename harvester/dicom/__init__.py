"""DICOM without input or output: bytes in, values out."""

from harvester.dicom.columns import HeaderColumns
from harvester.dicom.element import RawElement
from harvester.dicom.header import Header
from harvester.dicom.memory import HeaderMemory
from harvester.dicom.part10 import HeaderParser
from harvester.dicom.walk import NeedMore, WalkLimits

__all__ = ["Header", "HeaderColumns", "HeaderMemory", "HeaderParser", "NeedMore", "RawElement", "WalkLimits"]
