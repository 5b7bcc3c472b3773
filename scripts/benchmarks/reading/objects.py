"""Synthetic slides and segmentations of many frames, like those of IDC, that highdicom reads."""

import io
import json
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import highdicom
import numpy as np
import pydicom
from highdicom.sr.coding import CodedConcept
from PIL import Image, ImageCms
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.sr.codedict import codes
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid

TILE = 256  # pixels, both ways
DIFFERENT_TILES = 32
ORGANS = (
    "Liver",
    "Spleen",
    "Aorta",
    "Pancreas",
    "Stomach",
    "Bladder",
    "Esophagus",
    "Trachea",
    "Heart",
    "Colon",
)
_FRAME_OF_REFERENCE = "1.2.826.0.1.3680043.8.498.21"
_ITEM = b"\xfe\xff\x00\xe0"
_DELIMITER = b"\xfe\xff\xdd\xe0" + bytes(4)


@dataclass(frozen=True)
class Slide:
    """A slide of JPEG tiles without an offset table: the bytes before its tiles, and the tiles.

    Attributes:
        head: All up to the first tile's item.
        tiles: The different compressed tiles; they take turns.
        rows: Of tiles.
        columns: Of tiles.
    """

    head: bytes
    tiles: list[bytes]
    rows: int
    columns: int

    @property
    def frames(self) -> int:
        """How many tiles there are."""
        return self.rows * self.columns

    def write(self, path: Path, *, with_tiff: bool = False) -> int:
        """Write the slide, tile by tile; return its size in bytes.

        Args:
            path: The file.
            with_tiff: As a TIFF file, too: the preamble names a TIFF directory behind the pixel data.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            stream.write(self.head)
            starts, lengths = [], []
            for number in range(self.frames):
                tile = self.tiles[number % len(self.tiles)]
                stream.write(_ITEM + len(tile).to_bytes(4, "little"))
                starts.append(stream.tell())
                lengths.append(len(tile))
                stream.write(tile)
            stream.write(_DELIMITER)
            if not with_tiff:
                return stream.tell()
            # A Data Set Trailing Padding element, whose value is the TIFF directory.
            place = stream.tell() + 12
            directory = self._tiff_directory(place, starts, lengths)
            stream.write(struct.pack("<HH2sHL", 0xFFFC, 0xFFFC, b"OB", 0, len(directory)) + directory)
            size = stream.tell()
            stream.seek(0)
            stream.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, place))  # BigTIFF
        return size

    def _tiff_directory(self, place: int, starts: list[int], lengths: list[int]) -> bytes:
        """A BigTIFF directory of JPEG tiles at the offset `place`, followed by its long values."""
        short, long = (3, "H"), (16, "Q")
        entries = {
            254: (long, [0]),  # not a reduced image
            256: (long, [self.columns * TILE]),
            257: (long, [self.rows * TILE]),
            258: (short, [8, 8, 8]),
            259: (short, [7]),  # JPEG
            262: (short, [6]),  # YCbCr
            277: (short, [3]),
            322: (long, [TILE]),
            323: (long, [TILE]),
            324: (long, starts),
            325: (long, lengths),
        }
        body, values = struct.pack("<Q", len(entries)), b""
        behind = place + 8 + 20 * len(entries) + 8
        for tag, ((kind, letter), numbers) in entries.items():
            raw = struct.pack(f"<{len(numbers)}{letter}", *numbers)
            body += struct.pack("<HHQ", tag, kind, len(numbers))
            body += raw.ljust(8, b"\0") if len(raw) <= 8 else struct.pack("<Q", behind + len(values))
            values += raw if len(raw) > 8 else b""
        return body + bytes(8) + values


def made_slide(
    rows: int,
    columns: int,
    *,
    noise: int = 40,
    spacing: float = 0.0005,
    series_instance_uid: str | None = None,
) -> Slide:
    """A slide of `rows` by `columns` tiles.

    Args:
        rows: Of tiles.
        columns: Of tiles.
        noise: More of it makes larger tiles.
        spacing: Of pixels, in mm: larger for another level of the same slide.
        series_instance_uid: What it belongs to.
    """
    sop_class = pydicom.uid.VLWholeSlideMicroscopyImageStorage
    dataset = _dataset(sop_class, JPEGBaseline8Bit, "SM", series_instance_uid, rows * columns)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    dataset.NumberOfFrames = rows * columns
    dataset.Rows = dataset.Columns = TILE
    dataset.TotalPixelMatrixRows, dataset.TotalPixelMatrixColumns = rows * TILE, columns * TILE
    dataset.TotalPixelMatrixFocalPlanes, dataset.NumberOfOpticalPaths = 1, 1
    dataset.ImagedVolumeWidth, dataset.ImagedVolumeHeight = columns * TILE * spacing, rows * TILE * spacing
    dataset.ImagedVolumeDepth = 0.001
    dataset.DimensionOrganizationType = "TILED_FULL"
    dataset.DimensionOrganizationSequence = [_item(DimensionOrganizationUID="1.2.826.0.1.3680043.8.498.22")]
    dataset.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    origin = _item(XOffsetInSlideCoordinateSystem=20.0, YOffsetInSlideCoordinateSystem=40.0)
    dataset.TotalPixelMatrixOriginSequence = [origin]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = (
        3,
        "YBR_FULL_422",
        0,
    )
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.VolumetricProperties, dataset.FocusMethod, dataset.ExtendedDepthOfField = "VOLUME", "AUTO", "NO"
    dataset.BurnedInAnnotation, dataset.SpecimenLabelInImage = "NO", "NO"
    dataset.LossyImageCompression, dataset.LossyImageCompressionMethod = "01", "ISO_10918_1"
    dataset.LossyImageCompressionRatio = 10.0
    dataset.ContainerIdentifier = "C3L-00088-21"
    dataset.OpticalPathSequence = [_optical_path()]
    measures = _item(SliceThickness=0.001, PixelSpacing=[spacing, spacing], SpacingBetweenSlices=0.001)
    frame_type = _item(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])
    dataset.SharedFunctionalGroupsSequence = [
        _item(PixelMeasuresSequence=[measures], WholeSlideMicroscopyImageFrameTypeSequence=[frame_type])
    ]
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"], has_bot=False)
    head = _encoded(dataset)
    head = head[: head.rindex(_ITEM + (4).to_bytes(4, "little"))]
    return Slide(head, list(islice(_tiles(noise), DIFFERENT_TILES)), rows, columns)


def made_segmentation(
    segments: int, slices: int, *, pixels: int = 16, series_instance_uid: str | None = None
) -> highdicom.seg.Segmentation:
    """A binary segmentation of an axial volume, `segments` times `slices` frames, as highdicom writes it.

    Segment number n is in each slice, in a square of its own.
    """
    mask = np.zeros((slices, pixels, pixels, segments), np.uint8)
    for segment in range(segments):
        mask[:, segment % pixels :, : segment + 2, segment] = 1
    described = [
        highdicom.seg.SegmentDescription(
            segment_number=number + 1,
            segment_label=ORGANS[number % len(ORGANS)],
            segmented_property_category=codes.SCT.Organ,
            segmented_property_type=CodedConcept(f"{10200004 + number}", "SCT", ORGANS[number % len(ORGANS)]),
            algorithm_type="MANUAL",
        )
        for number in range(segments)
    ]
    return highdicom.seg.Segmentation(
        source_images=list(_volume(slices, pixels)),
        pixel_array=mask,
        segmentation_type="BINARY",
        segment_descriptions=described,
        series_instance_uid=series_instance_uid or generate_uid(entropy_srcs=["segmentation"]),
        series_number=300,
        sop_instance_uid=generate_uid(entropy_srcs=["segmentation", "1"]),
        instance_number=1,
        manufacturer="QIICR",
        manufacturer_model_name="made up",
        software_versions="1",
        device_serial_number="1",
        omit_empty_frames=False,
    )


def write_large(segmentation: FileDataset, path: Path, pixels: int = 512) -> int:
    """Write a segmentation with frames of this size, all zero; return its size in bytes."""
    segmentation.Rows = segmentation.Columns = pixels
    segmentation.PixelData = b""
    head = _encoded(segmentation)
    length = int(segmentation.NumberOfFrames) * pixels * pixels // 8
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        stream.write(head[:-4] + length.to_bytes(4, "little"))
        stream.truncate(len(head) + length)
    return len(head) + length


def made_volume_slice(index: int, pixels: int, series_instance_uid: str | None = None) -> FileDataset:
    """One slice of an axial CT volume."""
    dataset = _dataset(CTImageStorage, ExplicitVRLittleEndian, "CT", series_instance_uid, index)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Manufacturer, dataset.ManufacturerModelName = "TOSHIBA", "Aquilion"
    dataset.Rows = dataset.Columns = pixels
    dataset.PixelSpacing, dataset.SliceThickness = [0.7, 0.7], 3
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = [-100, -100, 3 * index]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 1
    dataset.RescaleIntercept, dataset.RescaleSlope = 0, 1
    dataset.PixelData = (np.arange(pixels * pixels, dtype="<i2") + index).tobytes()
    return dataset


def describe_for_gcs(root: Path, path: Path) -> None:
    """Write the metadata of an object in GCS's JSON interface below `root`."""
    bucket, name = path.relative_to(root).as_posix().split("/", 1)
    metadata = root / "metadata" / bucket / f"{name}.json"
    metadata.parent.mkdir(parents=True, exist_ok=True)
    described = {"kind": "storage#object", "name": name, "bucket": bucket, "generation": "1"}
    metadata.write_text(
        json.dumps({**described, "size": str(path.stat().st_size), "storageClass": "STANDARD"})
    )


def _volume(slices: int, pixels: int) -> Iterator[FileDataset]:
    return (made_volume_slice(index, pixels) for index in range(slices))


def _dataset(
    sop_class: UID, transfer_syntax: UID, modality: str, series: str | None, index: int = 0
) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = sop_class, transfer_syntax
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[modality, str(series), str(index)])
    dataset = FileDataset("made", {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    dataset.Modality, dataset.Manufacturer = modality, "made up"
    dataset.ManufacturerModelName, dataset.DeviceSerialNumber, dataset.SoftwareVersions = "1", "1", "1"
    dataset.PatientID, dataset.PatientName, dataset.PatientBirthDate, dataset.PatientSex = (
        "TCGA-OR-A5J1",
        "",
        "",
        "F",
    )
    dataset.StudyInstanceUID = "1.2.826.0.1.3680043.8.498.20"
    dataset.SeriesInstanceUID = series or generate_uid(entropy_srcs=[modality])
    dataset.StudyID = dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.StudyDate = dataset.ContentDate = dataset.AcquisitionDateTime = "20240102"
    dataset.StudyTime = dataset.ContentTime = "120000"
    dataset.SeriesNumber, dataset.InstanceNumber = 1, index + 1
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = _FRAME_OF_REFERENCE, ""
    return dataset


def _optical_path() -> Dataset:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return _item(
        OpticalPathIdentifier="0",
        ICCProfile=profile + bytes(len(profile) % 2),
        IlluminationTypeCodeSequence=[_code("111744", "DCM", "Brightfield illumination")],
        IlluminationColorCodeSequence=[_code("414298005", "SCT", "Full Spectrum")],
    )


def _tiles(noise: int) -> Iterator[bytes]:
    chance = np.random.default_rng(random.Random(7).getrandbits(32))  # noqa: S311  no secret
    down, across = np.mgrid[0:TILE, 0:TILE]
    while True:
        base = np.stack(
            [120 + 90 * np.sin((down + shift) / 40 + across / 70) for shift in chance.integers(0, 255, 3)], -1
        )
        pixels = np.clip(base + chance.normal(0, noise, base.shape), 0, 255).astype(np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=80, subsampling=1)
        tile = stream.getvalue()
        yield tile + bytes(len(tile) % 2)


def _encoded(dataset: FileDataset) -> bytes:
    stream = io.BytesIO()
    dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


def _item(**values: object) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    return _item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)
