"""A synthetic bucket of CT, MR, SM and SEG objects, of realistic sizes and in realistic proportions."""

import io
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEGBaseline8Bit

from crawling import computed_tomography

# Per hundred instances: with these, the mean instance has IDC's size, 1.7 MB.
CT, MR, SM, SEG = 68, 28, 2, 2
PROPORTIONS = f"{CT} CT, {MR} MR, {SM} SM, {SEG} SEG"
MR_BYTES = 300_000
SEGMENT_FRAMES = 500


@dataclass(frozen=True)
class Stored:
    """One object: its path, the bytes up to its pixel data's length, and its size; the rest is sparse."""

    path: str
    head: bytes
    size: int


def mixed_objects(hundreds: int) -> Iterator[Stored]:
    """`hundreds` times a hundred objects, each hundred in its own series."""
    for number in range(hundreds):
        folder = f"/bucket/{number:05}"
        chance = random.Random(number)  # noqa: S311  no secret
        for index, head in enumerate(computed_tomography.made_series(number, CT)):
            yield Stored(f"{folder}-ct/{index:04}.dcm", head, computed_tomography.OBJECT_BYTES)
        head = _head(_magnetic_resonance(), b"", MR_BYTES)
        for index in range(MR):
            yield Stored(f"{folder}-mr/{index:04}.dcm", _with_another_uid(head, index), MR_BYTES)
        for index in range(SM):
            size = chance.randrange(20, 100) * 1_000_000
            yield Stored(f"{folder}-sm/{index:04}.dcm", _slide(size), size)
        for index in range(SEG):
            size = chance.randrange(10, 40) * 1_000_000
            yield Stored(f"{folder}-seg/{index:04}.dcm", _head(_segmentation(), b"", size), size)


def write(root: Path, objects: Iterator[Stored]) -> list[Stored]:
    """Write objects as sparse files, each with its metadata in GCS's JSON interface."""
    written = []
    for one in objects:
        path = root / one.path[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            stream.write(one.head)
            stream.truncate(one.size)
        bucket, name = one.path[1:].split("/", 1)
        metadata = root / "metadata" / bucket / f"{name}.json"
        metadata.parent.mkdir(parents=True, exist_ok=True)
        described = {"kind": "storage#object", "name": name, "bucket": bucket, "generation": "1"}
        metadata.write_text(json.dumps({**described, "size": str(one.size), "storageClass": "STANDARD"}))
        written.append(one)
    return written


def _with_another_uid(head: bytes, index: int) -> bytes:
    return head.replace(
        b"1.2.826.0.1.3680043.8.498.1000000", f"1.2.826.0.1.3680043.8.498.{1_000_001 + index}".encode()
    )


def _dataset(sop_class: UID, transfer_syntax: UID, modality: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = "1.2.826.0.1.3680043.8.498.1000000"
    meta.TransferSyntaxUID = transfer_syntax
    dataset = FileDataset("made", {}, file_meta=meta, preamble=b"\0" * 128)
    shared = pydicom.dcmread(
        io.BytesIO(next(computed_tomography.made_series(1, 1))), stop_before_pixels=True, force=True
    )
    for group in (0x08, 0x10, 0x12, 0x13):  # patient, study, trial, and how it was de-identified
        dataset.update(shared.group_dataset(group))
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    dataset.Modality = modality
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = shared.StudyInstanceUID, shared.SeriesInstanceUID
    return dataset


def _head(dataset: FileDataset, pixels: bytes, size: int) -> bytes:
    """The object up to its pixel data, whose length is the rest of it."""
    dataset.PixelData = pixels
    stream = io.BytesIO()
    dcmwrite(stream, dataset, enforce_file_format=True)
    head = stream.getvalue()
    return head[:-4] + (size - len(head)).to_bytes(4, "little")


def _magnetic_resonance() -> FileDataset:
    dataset = _dataset(pydicom.uid.MRImageStorage, ExplicitVRLittleEndian, "MR")
    dataset.ScanningSequence, dataset.SequenceVariant = ["SE"], ["SK", "SP", "OSP"]
    dataset.MRAcquisitionType, dataset.SequenceName, dataset.AngioFlag = "2D", "*tse2d1_17", "N"
    dataset.SliceThickness, dataset.RepetitionTime, dataset.EchoTime = "3", "5200", "101"
    dataset.ImagingFrequency, dataset.ImagedNucleus, dataset.EchoNumbers = "123.25", "1H", "1"
    dataset.MagneticFieldStrength, dataset.SpacingBetweenSlices, dataset.FlipAngle = "3", "3.6", "140"
    dataset.PixelBandwidth, dataset.SAR, dataset.dBdt = "200", "0.71", "0"
    dataset.ImagePositionPatient = ["-82.9", "-99.7", "11.6"]
    dataset.ImageOrientationPatient = ["1", "0", "0", "0", "0.97", "-0.21"]
    dataset.InstanceNumber, dataset.SliceLocation = "1", "11.6"
    _describe_pixels(dataset, 384, 384, 16)
    block = dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(0x08, "CS", "IMAGE NUM 4")
    block.add_new(0x10, "OB", bytes(range(256)) * 45)
    return dataset


def _segmentation() -> FileDataset:
    dataset = _dataset(pydicom.uid.SegmentationStorage, ExplicitVRLittleEndian, "SEG")
    dataset.NumberOfFrames, dataset.SegmentationType = SEGMENT_FRAMES, "BINARY"
    _describe_pixels(dataset, 512, 512, 1)
    dataset.SegmentSequence = [_segment(number) for number in range(1, 9)]
    dataset.PerFrameFunctionalGroupsSequence = [_segment_frame(number) for number in range(SEGMENT_FRAMES)]
    return dataset


def _segment(number: int) -> Dataset:
    segment = Dataset()
    segment.SegmentNumber, segment.SegmentLabel, segment.SegmentAlgorithmType = (
        number,
        f"Rib {number}",
        "AUTOMATIC",
    )
    segment.SegmentedPropertyTypeCodeSequence = [_code("113343008", "SCT", "Organ")]
    segment.SegmentedPropertyCategoryCodeSequence = [_code("123037004", "SCT", "Anatomical Structure")]
    return segment


def _segment_frame(number: int) -> Dataset:
    source, derivation, content, position, segment, frame = (Dataset() for _ in range(6))
    source.ReferencedSOPClassUID = pydicom.uid.CTImageStorage
    source.ReferencedSOPInstanceUID = f"1.3.6.1.4.1.14519.5.2.1.6279.6001.{10**29 + number}"
    source.PurposeOfReferenceCodeSequence = [
        _code("121322", "DCM", "Source image for image processing operation")
    ]
    derivation.SourceImageSequence = [source]
    derivation.DerivationCodeSequence = [_code("113076", "DCM", "Segmentation")]
    content.DimensionIndexValues = [number % 8 + 1, number // 8 + 1]
    position.ImagePositionPatient = ["-166.0", "-171.7", f"{-207.5 + number * 2.5:.4f}"]
    segment.ReferencedSegmentNumber = number % 8 + 1
    frame.DerivationImageSequence, frame.FrameContentSequence = [derivation], [content]
    frame.PlanePositionSequence, frame.SegmentIdentificationSequence = [position], [segment]
    return frame


def _slide(size: int) -> bytes:
    """A level of a slide: encapsulated tiles, and an extended offset table before them (PS3.5 A.4)."""
    dataset = _dataset(pydicom.uid.VLWholeSlideMicroscopyImageStorage, JPEGBaseline8Bit, "SM")
    frames = size // 12_000
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    dataset.NumberOfFrames = frames
    dataset.TotalPixelMatrixColumns = dataset.TotalPixelMatrixRows = int(frames**0.5) * 256
    dataset.DimensionOrganizationType = "TILED_FULL"
    _describe_pixels(dataset, 256, 256, 8)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "YBR_FULL_422"
    specimen, path = Dataset(), Dataset()
    specimen.SpecimenIdentifier, specimen.SpecimenUID = "C3L-00088-21", "1.2.826.0.1.3680043.8.498.77"
    specimen.SpecimenTypeCodeSequence = [_code("119376003", "SCT", "Tissue specimen")]
    path.OpticalPathIdentifier, path.ICCProfile = "0", bytes(range(256)) * 55
    path.IlluminationTypeCodeSequence = [_code("111744", "DCM", "Brightfield illumination")]
    dataset.SpecimenDescriptionSequence, dataset.OpticalPathSequence = [specimen], [path]
    dataset.ExtendedOffsetTable = b"".join((12_000 * at).to_bytes(8, "little") for at in range(frames))
    dataset.ExtendedOffsetTableLengths = (11_992).to_bytes(8, "little") * frames
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"], has_bot=False)
    stream = io.BytesIO()
    dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


def _describe_pixels(dataset: Dataset, rows: int, columns: int, bits: int) -> None:
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = rows, columns, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item
