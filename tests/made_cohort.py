"""A cohort of small objects made with pydicom from a valid one: each invalid object violates one rule."""

from io import BytesIO
from pathlib import Path
from typing import Any

from made_tiff import Form, beginning, directory
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit

CT = "1.2.840.10008.5.1.4.1.1.2"
SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
SEG = "1.2.840.10008.5.1.4.1.1.66.4"
CLASSIC = Form("<", big=False)


def uid(*numbers: int) -> str:
    return ".".join(map(str, (1, 2, 826, 0, 1, 3680043, 10, 954, *numbers)))


def ct(series: int, instance: int, **changes: Any) -> Dataset:
    """One valid plane of a CT series."""
    dataset = Dataset()
    dataset.SOPClassUID = CT
    dataset.SOPInstanceUID = uid(series, instance)
    dataset.SeriesInstanceUID = uid(series)
    dataset.StudyInstanceUID = uid(series, 0)
    dataset.Modality = "CT"
    dataset.PatientID = f"P{series}"
    dataset.PatientName = f"P{series}"
    dataset.PatientSex = "F"
    dataset.PatientIdentityRemoved = "YES"
    dataset.StudyDate = "20200102"
    dataset.StudyDescription = "CT of the chest"
    dataset.FrameOfReferenceUID = uid(series, 1)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Rows = dataset.Columns = 2
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation, dataset.SamplesPerPixel = 15, 0, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelSpacing = [0.5, 0.5]
    dataset.SliceThickness = 2.5
    dataset.ImagePositionPatient = [0, 0, 2.5 * instance]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.RescaleIntercept, dataset.RescaleSlope = -1024, 1
    dataset.PixelData = bytes(8)
    for name, value in changes.items():
        setattr(dataset, name, value)
    return dataset


def slide(series: int, *, table: bool = True, **changes: Any) -> Dataset:
    """A slide of four compressed tiles, with or without a basic offset table."""
    dataset = ct(series, 1)
    for name in ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope"):
        delattr(dataset, name)
    dataset.SOPClassUID, dataset.Modality = SLIDE, "SM"
    dataset.NumberOfFrames = 4
    dataset.TotalPixelMatrixColumns = dataset.TotalPixelMatrixRows = 4
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.SamplesPerPixel, dataset.PlanarConfiguration = 7, 3, 0
    dataset.PhotometricInterpretation = "YBR_FULL_422"
    dataset.PixelData = encapsulate([b"\xff\xd8\xff\xd9"] * 4, has_bot=table)
    dataset["PixelData"].is_undefined_length = True
    for name, value in changes.items():
        setattr(dataset, name, value)
    return dataset


def segmentation(series: int, of_series: str, *instances: str) -> Dataset:
    """A segmentation of some instances."""
    dataset = ct(series, 1)
    dataset.SOPClassUID, dataset.Modality = SEG, "SEG"
    dataset.SegmentationType, dataset.NumberOfFrames = "BINARY", 1
    segment = Dataset()
    segment.SegmentNumber, segment.SegmentLabel = 1, "Liver"
    dataset.SegmentSequence = Sequence([segment])
    source = Dataset()
    source.SeriesInstanceUID = of_series
    source.ReferencedInstanceSequence = Sequence([_reference(one) for one in instances])
    dataset.ReferencedSeriesSequence = Sequence([source])
    return dataset


def _reference(instance: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CT, instance
    return item


def encoded(dataset: Dataset, syntax: str | None = None) -> bytes:
    """The object as a file, in Explicit VR Little Endian; `syntax` is its declared transfer syntax."""
    meta = FileMetaDataset()
    compressed = "PixelData" in dataset and dataset["PixelData"].is_undefined_length
    meta.TransferSyntaxUID = syntax or (JPEGBaseline8Bit if compressed else ExplicitVRLittleEndian)
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    file = FileDataset("", dataset, file_meta=meta, preamble=bytes(128))
    stream = BytesIO()
    file.save_as(stream, enforce_file_format=True, implicit_vr=False, little_endian=True)
    return stream.getvalue()


def with_directory(content: bytes, width: int) -> bytes:
    """The same file with a TIFF directory, which has the image's width."""
    at = len(content) + len(content) % 2
    entries = {256: [width], 257: [4], 258: [8], 259: [7], 262: [6], 277: [3], 322: [2], 323: [2]}
    padded = content.ljust(at, b"\0")
    return beginning(CLASSIC, at) + padded[128:] + directory(CLASSIC, at, entries)


def write(folder: Path, objects: dict[str, bytes]) -> None:
    for name, content in objects.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def private(dataset: Dataset, creator: str) -> Dataset:
    dataset.private_block(0x0029, creator, create=True).add_new(0x01, "LO", "secret")
    return dataset
