"""Nine kinds of DICOM file, each as a series of eight: public test files, or objects that are made here."""

import io
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import parse
import pydicom
from crawling import mixed_bucket
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ImplicitVRLittleEndian, generate_uid

from harvester.dicom import PlainHeaders
from harvester.dicom.header_limits import MAX_HEADER_BYTES

MADE_PIXELS = 1 << 18  # bytes behind a made header: readers that open the pixel data find some
CONTOURS, POINTS = 200, 110  # 540 kB of decimal strings, as a structure set of a head and neck has


@dataclass(frozen=True)
class Kind:
    """A kind of file: its name, its path in a folder of public test files, and what makes it without one."""

    name: str
    path: str
    made: Callable[[], bytes]


def series(kind: Kind, corpus: Path | None, folder: Path) -> list[Path]:
    """Eight files of one series in `folder`, which differ in UIDs, numbers, times and positions."""
    source = None if corpus is None else corpus / kind.path
    content = source.read_bytes() if source is not None and source.is_file() else kind.made()
    folder.mkdir(parents=True)
    paths = []
    header = parse.parsed(parse.Instance(content, len(content)), PlainHeaders(MAX_HEADER_BYTES))
    kept = len(content) if header.pixel_data_keyword is None else header.header_bytes + 20
    for number, sibling in enumerate(parse.siblings(parse.Instance(content[:kept], len(content)))):
        paths.append(folder / f"{number}.dcm")
        paths[-1].write_bytes(sibling.content + content[kept:])
    return paths


def _made_like_the_bucket(modality: str) -> Callable[[], bytes]:
    def made() -> bytes:
        head = next(one.head for one in mixed_bucket.mixed_objects(1) if f"-{modality.lower()}/" in one.path)
        if modality == "SM":
            return head
        return head[:-4] + MADE_PIXELS.to_bytes(4, "little") + bytes(MADE_PIXELS)

    return made


def _made_structure_set() -> bytes:
    dataset = _dataset("1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT")
    chance = random.Random(4711)  # noqa: S311  no secret
    dataset.ROIContourSequence = [
        _item(ReferencedROINumber=roi, ContourSequence=list(_contours(chance, CONTOURS // 8)))
        for roi in range(8)
    ]
    return _encoded(dataset)


def _contours(chance: random.Random, count: int) -> Iterator[Dataset]:
    for slice_number in range(count):
        points = POINTS + slice_number
        yield _item(
            ContourGeometricType="CLOSED_PLANAR",
            NumberOfContourPoints=points,
            ContourData=[
                f"{chance.uniform(-90, 90):.5f}" if axis < 2 else f"{slice_number * 3}"
                for _ in range(points)
                for axis in range(3)
            ],
            ContourImageSequence=[
                _item(
                    ReferencedSOPClassUID=pydicom.uid.CTImageStorage,
                    ReferencedSOPInstanceUID=f"1.3.6.1.4.1.14519.5.2.1.1706.{10**30 + slice_number}",
                )
            ],
        )


def _made_report() -> bytes:
    dataset = _dataset("1.2.840.10008.5.1.4.1.1.88.33", "SR")
    dataset.ValueType, dataset.ContinuityOfContent = "CONTAINER", "SEPARATE"
    dataset.ContentSequence = [
        _item(
            RelationshipType="CONTAINS",
            ValueType="NUM",
            ConceptNameCodeSequence=[_code("103355008", "SCT", "Width")],
            MeasuredValueSequence=[
                _item(
                    NumericValue=f"{number * 1.7:.2f}",
                    MeasurementUnitsCodeSequence=[_code("mm", "UCUM", "mm")],
                )
            ],
        )
        for number in range(24)
    ]
    return _encoded(dataset)


def _made_ultrasound() -> bytes:
    dataset = _dataset(pydicom.uid.UltrasoundImageStorage, "US")
    dataset.SequenceOfUltrasoundRegions = [
        _item(
            RegionSpatialFormat=1, RegionDataType=1, RegionFlags=2, PhysicalDeltaX=0.01, PhysicalDeltaY=0.01
        )
    ]
    dataset.Rows = dataset.Columns = 512
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.SamplesPerPixel, dataset.PixelRepresentation = 7, 1, 0
    dataset.PhotometricInterpretation, dataset.PixelData = "MONOCHROME2", bytes(MADE_PIXELS)
    dataset["PixelData"].VR = "OW"
    return _encoded(dataset)


def _dataset(sop_class: str, modality: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ImplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[modality])
    dataset = FileDataset("made", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = (
        meta.MediaStorageSOPClassUID,
        meta.MediaStorageSOPInstanceUID,
    )
    dataset.Modality, dataset.PatientID, dataset.PatientName = modality, "A-1", "Doe^Jane"
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=["study"])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=["series", modality])
    dataset.StudyDate, dataset.StudyTime, dataset.SeriesNumber, dataset.InstanceNumber = (
        "20240102",
        "101112",
        3,
        1,
    )
    return dataset


def _item(**attributes: object) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    return _item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def _encoded(dataset: FileDataset) -> bytes:
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


_NIFTI = "dicom2nifti/tests/data"
_PYDICOM = "pydicom-wheel/test_files"
KINDS = (
    Kind("RTSTRUCT", "DICOMSamples/DICOMSamples/rtstruct.dcm", _made_structure_set),
    Kind(
        "multi-frame MR, Siemens",
        f"{_NIFTI}/siemens_multiframe/anatomical/001/IM-0001-0001-0001.dcm",
        lambda: parse.functional_groups(8, uneven=True),
    ),
    Kind(
        "enhanced MR, Philips",
        f"{_NIFTI}/philips_enhanced/fmri/001/IM-0001-9600-0001.dcm",
        lambda: parse.functional_groups(40),
    ),
    Kind("MR", f"{_PYDICOM}/MR_small.dcm", _made_like_the_bucket("MR")),
    Kind("CT", f"{_PYDICOM}/CT_small.dcm", _made_like_the_bucket("CT")),
    Kind(
        "SM",
        "dicom-wsi-sample/cmu-1-small-region/level-0-frames-0-30.dcm",
        _made_like_the_bucket("SM"),
    ),
    Kind("SEG", "highdicom/seg_image_sm_dots.dcm", _made_like_the_bucket("SEG")),
    Kind("SR", f"{_PYDICOM}/test-SR.dcm", _made_report),
    Kind("US", f"{_PYDICOM}/examples_palette.dcm", _made_ultrasound),
)
