"""The readers in the race, each with what it delivers of a header: lazy, flat or full.

A lazy reader knows where the elements are and decodes a value when it is asked for one. A flat one gives the
top level's values. A full one gives every value, those in sequences included.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# Reads the header of the file at a path.
Read = Callable[[str], object]


@dataclass(frozen=True)
class Reader:
    """A reader: its package, what it delivers, and what imports it and returns the function."""

    name: str
    package: str
    delivers: str
    opened: Callable[[], Read]

    @property
    def installed(self) -> bool:
        """Whether the package can be imported."""
        return importlib.util.find_spec(self.package) is not None


def _pydicom() -> Read:
    import pydicom  # noqa: PLC0415  only what is measured is imported

    return lambda path: pydicom.dcmread(path, stop_before_pixels=True)


def _pydicom_values() -> Read:
    import pydicom  # noqa: PLC0415

    return lambda path: pydicom.dcmread(path, stop_before_pixels=True).to_json_dict()


def _dicomsdl() -> Read:
    import dicomsdl  # noqa: PLC0415

    return dicomsdl.open  # type: ignore[no-any-return]


def _dicomsdl_values() -> Read:
    import dicomsdl  # noqa: PLC0415

    sequence, binary = dicomsdl.VR.SQ, {dicomsdl.VR.OB, dicomsdl.VR.OW, dicomsdl.VR.PIXSEQ}

    def values(dataset: Any) -> dict[int, object]:
        read: dict[int, object] = {}
        for element in dataset:
            vr = element.vr()
            if vr == sequence:
                items = element.toSequence()
                read[element.tag()] = [values(items.getDataSet(index)) for index in range(len(items))]
            elif vr not in binary:
                read[element.tag()] = element.value()
        return read

    return lambda path: values(dicomsdl.open(path))


def _gdcm() -> Read:
    import gdcm  # noqa: PLC0415

    pixel_data = gdcm.Tag(0x7FE0, 0x0010)

    def read(path: str) -> object:
        reader = gdcm.Reader()
        reader.SetFileName(path)
        if not reader.ReadUpToTag(pixel_data):
            raise ValueError("GDCM cannot read it")
        return reader

    return read


def _simpleitk() -> Read:
    import SimpleITK  # noqa: PLC0415

    def read(path: str) -> object:
        reader = SimpleITK.ImageFileReader()
        reader.SetFileName(path)
        reader.LoadPrivateTagsOn()
        reader.ReadImageInformation()
        return {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}

    return read


def _fastdicom() -> Read:
    import fastdicom  # noqa: PLC0415

    return lambda path: fastdicom.dcmread(path, stop_before_pixels=True)


def _fastdicom_values() -> Read:
    import fastdicom  # noqa: PLC0415

    def values(dataset: Any) -> dict[object, object]:
        return {
            tag: [values(item) for item in value]
            if type(value) is list and value and type(value[0]) is fastdicom.Dataset
            else value
            for tag, value in dataset.items()
        }

    return lambda path: values(fastdicom.dcmread(path, stop_before_pixels=True))


def _fw_file_rs() -> Read:
    from fw_file_rs import dcm  # noqa: PLC0415

    return lambda path: dcm.parse_header_full(dcm.read_until_pixels(path))


READERS = (
    Reader("pydicom dcmread", "pydicom", "lazy", _pydicom),
    Reader("pydicom to_json_dict", "pydicom", "full", _pydicom_values),
    Reader("dicomsdl open", "dicomsdl", "lazy", _dicomsdl),
    Reader("dicomsdl, each value", "dicomsdl", "full", _dicomsdl_values),
    Reader("python-gdcm ReadUpToTag", "gdcm", "lazy", _gdcm),
    Reader("SimpleITK, each key", "SimpleITK", "flat", _simpleitk),
    Reader("fastdicom dcmread", "fastdicom", "lazy", _fastdicom),
    Reader("fastdicom, each value", "fastdicom", "full", _fastdicom_values),
    Reader("fw-file-rs parse_header_full", "fw_file_rs", "full, as text", _fw_file_rs),
)
