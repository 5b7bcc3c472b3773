"""Synthetic CT series with the attributes of IDC's de-identified CT instances, and similar values."""

import io
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from harvester.demo.synthetic_header import ATTRIBUTES, code

OBJECT_BYTES = 526_000  # 512 x 512 pixels of 16 bits, and a header
LONG_LENGTHS = frozenset({b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UN", b"UT", b"UC", b"UR"})


@dataclass(frozen=True)
class Element:
    """One encoded data element with its tag."""

    tag: int
    encoded: bytes


def made_series(number: int, count: int) -> Iterator[bytes]:
    """The headers of one synthetic series, up to and including the length of its pixel data."""
    chance = random.Random(number)  # noqa: S311  no secret
    elements = _elements(_instance(chance))
    spacing = chance.choice((0.625, 1.25, 2.0, 2.5))
    bottom, start = chance.uniform(-400, -100), chance.uniform(36_000, 64_000)
    for index in range(count):
        current = chance.randrange(80, 440)
        position = bottom + index * spacing
        seconds = start + index * 0.11
        clock = f"{int(seconds // 3600):02}{int(seconds // 60 % 60):02}{seconds % 60:09.6f}"
        uid = _uid(chance)
        yield _with(
            elements,
            {
                0x00020003: uid,
                0x00080018: uid,
                0x00080032: clock,
                0x00080033: clock,
                0x00181151: str(current),
                0x00181152: str(current // 4),
                0x00200013: str(index + 1),
                0x00200032: f"-166.000000\\-171.699997\\{position:.6f}",
                0x00201041: f"{position:.6f}",
            },
        )


def series_like_ct_small(number: int, count: int) -> Iterator[bytes]:
    """Instances like pydicom's CT_small.dcm; most of its 240 elements are the manufacturer's private ones."""
    source = get_testdata_file("CT_small.dcm")
    if source is None:
        raise FileNotFoundError("pydicom has no CT_small.dcm")
    content = Path(source).read_bytes()
    elements = _elements(content[: content.index(b"\xe0\x7f\x10\x00OW") + 12])
    chance = random.Random(number)  # noqa: S311  no secret
    for index in range(count):
        uid = f"1.3.6.1.4.1.5962.1.1.1.{number}.{chance.randrange(10**15)}"
        yield _with(
            elements,
            {
                0x00020003: uid,
                0x00080018: uid,
                0x00080033: f"{chance.randrange(10, 24)}0{chance.randrange(1000, 6000)}",
                0x00200013: str(index + 1),
                0x00200032: f"-158.135803\\-179.035797\\{-75.7 - index:.6f}",
                0x00201041: f"{-77.2 - index:.10f}",
            },
        )


def _with(elements: list[Element], values: dict[int, str]) -> bytes:
    """The header with some values replaced."""
    pieces = [b"\0" * 128 + b"DICM"]
    for one in elements:
        text = values.get(one.tag)
        if text is None:
            pieces.append(one.encoded)
            continue
        raw = text.encode()
        raw += (b"\0" if one.encoded[4:6] == b"UI" else b" ") * (len(raw) % 2)
        pieces.append(one.encoded[:6] + len(raw).to_bytes(2, "little") + raw)
    group_length = sum(
        len(piece) for one, piece in zip(elements, pieces[1:], strict=True) if one.tag >> 16 == 2
    )
    pieces[1] = pieces[1][:8] + (group_length - 12).to_bytes(4, "little")
    return b"".join(pieces)


def _elements(content: bytes) -> list[Element]:
    """The top level of a header of explicit VR, little endian, and defined lengths."""
    elements, at = [], 132
    while at < len(content):
        tag = int.from_bytes(content[at : at + 2], "little") << 16 | int.from_bytes(
            content[at + 2 : at + 4], "little"
        )
        if content[at + 4 : at + 6] in LONG_LENGTHS:
            stop = at + 12 + int.from_bytes(content[at + 8 : at + 12], "little")
        else:
            stop = at + 8 + int.from_bytes(content[at + 6 : at + 8], "little")
        elements.append(Element(tag, content[at:stop]))
        at = stop
    return elements


def _uid(chance: random.Random) -> str:
    return f"1.3.6.1.4.1.14519.5.2.1.6279.6001.{chance.randrange(10**29, 10**30)}"


def _instance(chance: random.Random) -> bytes:
    """One instance like those of TCIA's LIDC and NLST collections in IDC, with invented values."""
    uid = _uid(chance)
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    meta.MediaStorageSOPInstanceUID = uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = "1.2.40.0.13.1.1.1"
    meta.ImplementationVersionName = "dcm4che-1.4.35"
    dataset = FileDataset("made", {}, file_meta=meta, preamble=b"\0" * 128)
    for keyword, value in _attributes(chance, uid).items():
        setattr(dataset, keyword, value)
    dataset.ProcedureCodeSequence = [code("36572-6", "LN", "Chest CT")]
    dataset.DeidentificationMethodCodeSequence = Sequence(
        code(value, "DCM", meaning)
        for value, meaning in (
            ("113100", "Basic Application Confidentiality Profile"),
            ("113101", "Clean Pixel Data Option"),
            ("113104", "Clean Structured Content Option"),
            ("113105", "Clean Descriptors Option"),
            ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
            ("113108", "Retain Patient Characteristics Option"),
            ("113109", "Retain Device Identity Option"),
            ("113111", "Retain Safe Private Option"),
        )
    )
    referenced = Dataset()
    referenced.ReferencedSOPClassUID = pydicom.uid.CTImageStorage
    referenced.ReferencedSOPInstanceUID = _uid(chance)
    dataset.ReferencedImageSequence = [referenced]
    block = dataset.private_block(0x0013, "CTP", create=True)
    for offset, text in (
        (0x10, "LIDC-IDRI"),
        (0x11, "62796001"),
        (0x12, "62796001"),
        (0x13, "LIDC-IDRI"),
        (0x15, "1"),
    ):
        block.add_new(offset, "LO", text)
    dataset.PixelData = b""
    stream = io.BytesIO()
    dcmwrite(stream, dataset, enforce_file_format=True)
    pixels = OBJECT_BYTES - len(stream.getvalue())
    return stream.getvalue()[:-4] + pixels.to_bytes(4, "little")


def _attributes(chance: random.Random, uid: str) -> dict[str, object]:
    """Attributes of the demo's slices, those that differ between series, and others that IDC has."""
    day = f"{chance.randrange(1998, 2006)}{chance.randrange(1, 13):02}{chance.randrange(1, 29):02}"
    patient = f"LIDC-IDRI-{chance.randrange(10_000):04}"
    kernel = chance.choice(("STANDARD", "BONE", "LUNG", "B30f"))
    pixel = f"{chance.uniform(0.5, 0.9):.6f}"
    return {
        **ATTRIBUTES,
        "InstanceCreationDate": day,
        "SOPClassUID": pydicom.uid.CTImageStorage,
        "SOPInstanceUID": uid,
        "StudyDate": day,
        "SeriesDate": day,
        "AcquisitionDate": day,
        "ContentDate": day,
        "AccessionNumber": f"{chance.randrange(10**16)}",
        "Manufacturer": chance.choice(("GE MEDICAL SYSTEMS", "SIEMENS", "TOSHIBA", "Philips")),
        "SeriesDescription": f"{chance.choice((1, 2, 3))}.25 MM {kernel}",
        "PatientName": patient,
        "PatientID": patient,
        "PatientSex": chance.choice("MF"),
        "PatientAge": f"{chance.randrange(40, 90):03}Y",
        "PatientSize": "1.72",
        "PatientWeight": f"{chance.uniform(50, 110):.2f}",
        "AdditionalPatientHistory": "",
        "DeidentificationMethod": "DCM:113100/113101/113104/113105/113107/113108/113109/113111",
        "ClinicalTrialSponsorName": "NCI",
        "ClinicalTrialProtocolID": "LIDC-IDRI",
        "ClinicalTrialProtocolName": "Lung Image Database Consortium",
        "ClinicalTrialSiteID": f"{chance.randrange(100)}",
        "ClinicalTrialSiteName": "",
        "ClinicalTrialSubjectID": patient,
        "ClinicalTrialTimePointID": "T0",
        "ClinicalTrialCoordinatingCenterName": "TCIA",
        "DateOfLastCalibration": day,
        "TimeOfLastCalibration": "055112",
        "ConvolutionKernel": kernel,
        "TableFeedPerRotation": 27.5,
        "StudyInstanceUID": _uid(chance),
        "SeriesInstanceUID": uid,
        "SeriesNumber": f"{chance.randrange(1, 12)}",
        "InstanceNumber": "1",
        "ImagePositionPatient": ["-166.000000", "-171.699997", "-207.500000"],
        "FrameOfReferenceUID": _uid(chance),
        "Laterality": "",
        "SliceLocation": "-207.500000",
        "PixelSpacing": [pixel, pixel],
        "PerformedProcedureStepStartDate": day,
        "PerformedProcedureStepDescription": "CT CHEST W/O CONTRAST",
    }
