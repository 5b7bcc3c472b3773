"""The header of a synthetic CT slice with the attributes of IDC's; four values differ between slices."""

import io
from functools import cache
from typing import Final

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

OBJECT_BYTES: Final = 526_336  # a header and 512 x 512 pixels of 16 bits

# Placeholders in the template, each as long as every value that replaces it.
_MARKS: Final = ("2.25.111111111111", "2.25.222222222222", "-3333.333333", "444444444444")


def synthetic_header(instance: int, series: int, number: int) -> bytes:
    """The bytes of one slice before the value of its pixel data.

    Args:
        instance: The number of the instance in the bucket, for the SOP Instance UID.
        series: The number of the series in the bucket, for the Series Instance UID.
        number: The number of the instance in its series.
    """
    values = (
        instance_uid(instance),
        f"2.25.{2 * 10**11 + series}",
        f"{-1000.0 - number:012.6f}",
        f"{number + 1:012}",
    )
    first, behind = _template()
    return first + b"".join(values[which].encode() + after for which, after in behind)


def instance_uid(instance: int) -> str:
    """The SOP Instance UID of an instance."""
    return f"2.25.{10**11 + instance}"


@cache
def _template() -> tuple[bytes, tuple[tuple[int, bytes], ...]]:
    """The bytes before the first value, then each value's number and the bytes behind it."""
    whole = _marked()
    places = sorted(
        (at, which)
        for which, mark in enumerate(_MARKS)
        for at in range(len(whole))
        if whole.startswith(mark.encode(), at)
    )
    ends = [at for at, _ in places[1:]] + [len(whole)]
    behind = tuple(
        (which, whole[at + len(_MARKS[which]) : end]) for (at, which), end in zip(places, ends, strict=True)
    )
    return whole[: places[0][0]], behind


def _marked() -> bytes:
    instance, series, place, number = _MARKS
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, UID(instance)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID, meta.ImplementationVersionName = UID("1.2.40.0.13.1.1.1"), "dcm4che-1.4.35"
    dataset = FileDataset("synthetic", {}, file_meta=meta, preamble=b"\0" * 128)
    for keyword, value in ATTRIBUTES.items():
        setattr(dataset, keyword, value)
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.SeriesInstanceUID = CTImageStorage, instance, series
    dataset.ImagePositionPatient = ["-166.000000", "-171.699997", place]
    dataset.SliceLocation, dataset.InstanceNumber = place, number
    dataset.ProcedureCodeSequence = [code("36572-6", "LN", "Chest CT")]
    dataset.DeidentificationMethodCodeSequence = [
        code("113100", "DCM", "Basic Application Confidentiality Profile"),
        code("113107", "DCM", "Retain Longitudinal Temporal Information Modified Dates Option"),
        code("113109", "DCM", "Retain Device Identity Option"),
    ]
    block = dataset.private_block(0x0013, "CTP", create=True)
    for offset, text in ((0x10, "MADE-UP"), (0x11, "62796001"), (0x12, "62796001")):
        block.add_new(offset, "LO", text)
    dataset.PixelData = b""
    stream = io.BytesIO()
    dcmwrite(stream, dataset, enforce_file_format=True)
    header = stream.getvalue()
    return header[:-4] + (OBJECT_BYTES - len(header)).to_bytes(4, "little")


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """An item of a code sequence (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


ATTRIBUTES: Final[dict[str, object]] = {
    "SpecificCharacterSet": "ISO_IR 100",
    "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
    "InstanceCreationDate": "20010203",
    "InstanceCreationTime": "103411",
    "StudyDate": "20010203",
    "SeriesDate": "20010203",
    "AcquisitionDate": "20010203",
    "ContentDate": "20010203",
    "StudyTime": "102931",
    "SeriesTime": "103122",
    "AcquisitionTime": "103247",
    "ContentTime": "103247",
    "AccessionNumber": "2819497684894126",
    "Modality": "CT",
    "Manufacturer": "GE MEDICAL SYSTEMS",
    "InstitutionName": "",
    "ReferringPhysicianName": "",
    "TimezoneOffsetFromUTC": "-0500",
    "StudyDescription": "CT CHEST W/O CONTRAST",
    "SeriesDescription": "2.25 MM STANDARD",
    "ManufacturerModelName": "LightSpeed Plus",
    "PatientName": "MADE-UP-0001",
    "PatientID": "MADE-UP-0001",
    "PatientBirthDate": "",
    "PatientSex": "F",
    "PatientAge": "061Y",
    "PatientWeight": "71.22",
    "EthnicGroup": "",
    "PatientIdentityRemoved": "YES",
    "DeidentificationMethod": "DCM:113100/113107/113109",
    "ClinicalTrialSponsorName": "NOBODY",
    "ClinicalTrialProtocolID": "MADE-UP",
    "ClinicalTrialSiteID": "17",
    "ClinicalTrialSubjectID": "MADE-UP-0001",
    "ContrastBolusAgent": "NONE",
    "BodyPartExamined": "CHEST",
    "ScanOptions": "HELICAL MODE",
    "SliceThickness": "2.500000",
    "KVP": "120",
    "DataCollectionDiameter": "500.000000",
    "SoftwareVersions": ["LightSpeedApps10.5_2.8.2I_H1.M7", "06.01"],
    "ReconstructionDiameter": "360.000000",
    "DistanceSourceToDetector": "949.075012",
    "DistanceSourceToPatient": "541.000000",
    "GantryDetectorTilt": "0.000000",
    "TableHeight": "144.399994",
    "RotationDirection": "CW",
    "ExposureTime": "570",
    "XRayTubeCurrent": "400",
    "Exposure": "100",
    "FilterType": "BODY FILTER",
    "GeneratorPower": "48000",
    "FocalSpots": "1.200000",
    "ConvolutionKernel": "STANDARD",
    "PatientPosition": "FFS",
    "RevolutionTime": 0.5,
    "SingleCollimationWidth": 1.25,
    "TotalCollimationWidth": 20.0,
    "TableSpeed": 55.0,
    "SpiralPitchFactor": 1.375,
    "StudyInstanceUID": "2.25.300000000001",
    "StudyID": "",
    "SeriesNumber": "4",
    "AcquisitionNumber": "1",
    "ImageOrientationPatient": ["1.000000", "0.000000", "0.000000", "0.000000", "1.000000", "0.000000"],
    "FrameOfReferenceUID": "2.25.300000000002",
    "PositionReferenceIndicator": "SN",
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "Rows": 512,
    "Columns": 512,
    "PixelSpacing": ["0.703125", "0.703125"],
    "BitsAllocated": 16,
    "BitsStored": 16,
    "HighBit": 15,
    "PixelRepresentation": 1,
    "PixelPaddingValue": -2000,
    "LongitudinalTemporalInformationModified": "MODIFIED",
    "WindowCenter": "-600",
    "WindowWidth": "1600",
    "RescaleIntercept": "-1024",
    "RescaleSlope": "1",
    "RescaleType": "HU",
    "RequestedProcedureDescription": "CT CHEST W/O CONTRAST",
}
"""The attributes that all slices share, by keyword; the benchmarks use them, too."""
