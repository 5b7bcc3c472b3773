"""Objects that conform to their IOD, and two hundred faults, each in one of them."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass

import highdicom
import numpy as np
from made_cohort import ct, uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

MR = "1.2.840.10008.5.1.4.1.1.4"
RT_PLAN = "1.2.840.10008.5.1.4.1.1.481.5"
Change = Callable[[Dataset], None]

# Type 1 and Type 2 of both IODs: PS3.3 C.7.1 to C.7.6, C.12.1.
TYPE_1 = (
    *("StudyInstanceUID", "SeriesInstanceUID", "Modality", "FrameOfReferenceUID", "ImageType"),
    *("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored"),
    *("HighBit", "PixelRepresentation", "PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient"),
)
TYPE_2 = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
    *("ReferringPhysicianName", "AccessionNumber", "SeriesNumber", "PositionReferenceIndicator"),
    *("Manufacturer", "InstanceNumber", "SliceThickness"),
)
CT_TYPE_1, CT_TYPE_2 = ("RescaleIntercept", "RescaleSlope"), ("KVP", "AcquisitionNumber")  # C.8.2.1
MR_TYPE_1 = ("ScanningSequence", "SequenceVariant")  # C.8.3.1
MR_TYPE_2 = ("ScanOptions", "MRAcquisitionType", "EchoTime", "EchoTrainLength")


@dataclass(frozen=True)
class Fault:
    """A change of an object, and the one finding that it causes."""

    of: str
    change: Change
    kind: str
    path: str


def complete_ct() -> Dataset:
    made = ct(1, 1, KVP=120, AcquisitionNumber=1)
    del made.StudyDescription
    return _with_type_2(made)


def complete_mr() -> Dataset:
    made = ct(2, 1, SOPClassUID=MR, Modality="MR", ScanningSequence="SE", SequenceVariant="NONE")
    for name in ("RescaleIntercept", "RescaleSlope", "StudyDescription"):
        delattr(made, name)
    made.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    made.ScanOptions, made.MRAcquisitionType, made.EchoTime, made.EchoTrainLength = "", "2D", 90, 1
    made.RepetitionTime = 2000
    return _with_type_2(made)


def _with_type_2(made: Dataset) -> Dataset:
    made.DeidentificationMethod = "by hand"
    made.PatientPosition = "HFS"
    for name in TYPE_2:
        if name not in made:
            setattr(made, name, "")
    return made


def complete_segmentation() -> Dataset:
    """A segmentation of four planes, as highdicom makes one."""
    planes = []
    for number in (1, 2, 3, 4):
        plane = _with_type_2(ct(1, number, PatientName="Doe^Jane", StudyTime="120000"))
        plane.file_meta = FileMetaDataset()
        plane.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        planes.append(plane)
    segment = highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label="Liver",
        segmented_property_category=codes.SCT.Organ,
        segmented_property_type=codes.SCT.Liver,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
    )
    made = highdicom.seg.Segmentation(
        source_images=planes,
        pixel_array=np.ones((4, 2, 2), np.uint8),
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[segment],
        series_instance_uid=uid(3),
        series_number=3,
        sop_instance_uid=uid(3, 1),
        instance_number=1,
        manufacturer="Maker",
        manufacturer_model_name="Model",
        software_versions="1",
        device_serial_number="1",
    )
    return deepcopy(made)


def complete_plan() -> Dataset:
    """An RT plan of one beam with two control points."""
    made = ct(4, 1, SOPClassUID=RT_PLAN, Modality="RTPLAN")
    kept = ("SOP", "Study", "Series", "PatientN", "PatientI", "PatientB", "PatientS", "Frame", "Modality")
    for element in list(made):
        if not element.keyword.startswith(kept):
            del made[element.tag]
    made.update(
        dict.fromkeys(
            ("OperatorsName", "Manufacturer", "RTPlanDate", "RTPlanTime", "PositionReferenceIndicator")
        )
    )
    made.RTPlanLabel, made.RTPlanGeometry = "Plan", "TREATMENT_DEVICE"
    jaws, beam = Dataset(), Dataset()
    jaws.RTBeamLimitingDeviceType, jaws.NumberOfLeafJawPairs = "X", 1
    beam.BeamNumber, beam.TreatmentMachineName, beam.BeamType, beam.RadiationType = 1, "", "STATIC", "PHOTON"
    beam.BeamLimitingDeviceSequence = [jaws]
    beam.NumberOfWedges = beam.NumberOfCompensators = beam.NumberOfBoli = beam.NumberOfBlocks = 0
    beam.NumberOfControlPoints = 2
    beam.ControlPointSequence = [Dataset(), Dataset()]
    for number, point in enumerate(beam.ControlPointSequence):
        point.ControlPointIndex, point.CumulativeMetersetWeight = number, number
    made.BeamSequence = [beam]
    _with_type_2(made)
    del made.PatientPosition
    return made


BASES: dict[str, Callable[[], Dataset]] = {
    "CT": complete_ct,
    "MR": complete_mr,
    "SEG": complete_segmentation,
    "PLAN": complete_plan,
}


def faults() -> Iterator[Fault]:
    """The faults, in the order of the classes."""
    for of, type_1, type_2 in (("CT", CT_TYPE_1, CT_TYPE_2), ("MR", MR_TYPE_1, MR_TYPE_2)):
        for name in (*TYPE_1, *type_1):
            yield Fault(of, _removed(name), "missing", name)
            yield Fault(of, _set(name, None), "empty", name)
        for name in (*TYPE_2, *type_2):
            yield Fault(of, _removed(name), "missing", name)
        yield from _values(of)
    yield Fault("CT", _set("RepetitionTime", 5), "unexpected", "RepetitionTime")
    yield Fault("MR", _removed("RepetitionTime"), "missing", "RepetitionTime")
    yield Fault("MR", _set("ScanningSequence", "IR"), "missing", "InversionTime")
    yield from _items()
    yield from _specializations()


def _specializations() -> Iterator[Fault]:
    """Values, numbers of items and absences that an IOD prescribes besides the tables of its modules."""
    beam, segment = "BeamSequence[0]", "SegmentSequence[0]"
    points, code = f"{beam}.ControlPointSequence", f"{segment}.SegmentedPropertyTypeCodeSequence[0]"
    yield Fault("PLAN", _set("Modality", "CT"), "not_allowed", "Modality")
    yield Fault("PLAN", _set("NumberOfControlPoints", 3, beam), "multiplicity", points)
    yield Fault("PLAN", _set("NumberOfWedges", 1, beam), "missing", f"{beam}.WedgeSequence")
    yield Fault("PLAN", _one_control_point, "multiplicity", points)
    yield Fault("CT", _set("HighBit", 14), "not_allowed", "HighBit")
    yield Fault("CT", _set("ImageType", ["ORIGINAL", "PRIMARY", "OTHER"]), "not_defined", "ImageType")
    yield Fault("CT", _set("PixelPaddingRangeLimit", 5), "missing", "PixelPaddingValue")
    yield Fault("CT", _set("DecayFactor", 1), "unexpected", "DecayFactor")
    yield Fault("SEG", _set("BitsAllocated", 8), "not_allowed", "BitsAllocated")
    yield Fault("SEG", _set("ImageType", ["DERIVED", "PRIMARY", "OTHER"]), "multiplicity", "ImageType")
    name = "SegmentAlgorithmName"
    yield Fault("SEG", _set(name, "Name", segment), "unexpected", f"{segment}.{name}")
    yield Fault("SEG", _set("LongCodeValue", "1", code), "unexpected", f"{code}.LongCodeValue")


def _one_control_point(dataset: Dataset) -> None:
    beam = dataset.BeamSequence[0]
    beam.NumberOfControlPoints = 1
    del beam.ControlPointSequence[1]


def _values(of: str) -> Iterator[Fault]:
    """Values that are not allowed, too many or too few, or not of their VR."""
    changes: tuple[tuple[str, object, str], ...] = (
        ("PatientSex", "W", "not_allowed"),
        ("PatientIdentityRemoved", "MAYBE", "not_allowed"),
        ("PhotometricInterpretation", "RGB", "not_allowed"),
        ("BitsAllocated", 12, "not_allowed"),
        ("PixelRepresentation", 2, "not_allowed"),
        ("LossyImageCompression", "02", "not_allowed"),
        ("PixelSpacing", [1, 1, 1], "multiplicity"),
        ("PixelSpacing", [1], "multiplicity"),
        ("ImagePositionPatient", [0, 0], "multiplicity"),
        ("ImageOrientationPatient", [1, 0, 0, 0, 1], "multiplicity"),
        ("ImageType", ["ORIGINAL"], "multiplicity"),
        ("BurnedInAnnotation", "PERHAPS", "not_allowed"),
        ("Laterality", "X", "not_allowed"),
        ("StudyInstanceUID", "1.02.3", "representation"),
        ("SeriesInstanceUID", "1..2", "representation"),
        ("BodyPartExamined", "Abdomen", "representation"),
        ("ManufacturerModelName", "x" * 65, "representation"),
        ("AccessionNumber", "x" * 17, "representation"),
        ("FrameOfReferenceUID", "1.2." + "3" * 64, "representation"),
        ("PatientAge", "30Y", "representation"),
        ("SeriesDescription", "x" * 65, "representation"),
        ("StudyID", "x" * 17, "representation"),
        ("PlanarConfiguration", 0, "unexpected"),
    )
    for name, value, kind in changes:
        yield Fault(of, _set(name, value), kind, name)


def _items() -> Iterator[Fault]:
    """Faults in items of sequences, at several depths, and in functional groups."""
    segment = "SegmentSequence[0]"
    for name in (
        *("SegmentNumber", "SegmentLabel", "SegmentAlgorithmType"),
        *("SegmentedPropertyCategoryCodeSequence", "SegmentedPropertyTypeCodeSequence"),
    ):
        yield Fault("SEG", _removed(name, segment), "missing", f"{segment}.{name}")
        yield Fault("SEG", _set(name, None, segment), "empty", f"{segment}.{name}")
    yield Fault(
        "SEG",
        _set("SegmentAlgorithmType", "AUTOMATIC", segment),
        "missing",
        f"{segment}.SegmentAlgorithmName",
    )
    yield Fault(
        "SEG",
        _set("SegmentAlgorithmType", "GUESSED", segment),
        "not_allowed",
        f"{segment}.SegmentAlgorithmType",
    )
    for sequence in ("SegmentedPropertyCategoryCodeSequence", "SegmentedPropertyTypeCodeSequence"):
        item = f"{segment}.{sequence}[0]"
        for name in ("CodeValue", "CodeMeaning"):
            yield Fault("SEG", _removed(name, item), "missing", f"{item}.{name}")
            yield Fault("SEG", _set(name, None, item), "empty", f"{item}.{name}")
        yield Fault(
            "SEG", _removed("CodingSchemeDesignator", item), "missing", f"{item}.CodingSchemeDesignator"
        )
    for frame in range(4):
        groups = f"PerFrameFunctionalGroupsSequence[{frame}]"
        item = f"{groups}.FrameContentSequence[0]"
        yield Fault("SEG", _removed("DimensionIndexValues", item), "missing", f"{item}.DimensionIndexValues")
        yield Fault("SEG", _set("DimensionIndexValues", None, item), "empty", f"{item}.DimensionIndexValues")
        yield Fault(
            "SEG",
            _set("ImagePositionPatient", [0, 0], f"{groups}.PlanePositionSequence[0]"),
            "multiplicity",
            f"{groups}.PlanePositionSequence[0].ImagePositionPatient",
        )
    shared = "SharedFunctionalGroupsSequence[0]"
    item, name = f"{shared}.SegmentIdentificationSequence[0]", "ReferencedSegmentNumber"
    yield Fault("SEG", _removed(name, item), "missing", f"{item}.{name}")
    yield Fault("SEG", _set(name, None, item), "empty", f"{item}.{name}")
    for name in ("PixelMeasuresSequence", "PlaneOrientationSequence"):
        yield Fault("SEG", _removed(name, shared), "missing", f"{shared}.{name}")
    for name in ("SegmentationType", "DimensionOrganizationSequence", "ContentLabel", "ContentDate"):
        yield Fault("SEG", _removed(name), "missing", name)
    yield Fault("SEG", _set("MaximumFractionalValue", 255), "unexpected", "MaximumFractionalValue")
    for name in ("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions"):
        yield Fault("SEG", _removed(name), "missing", name)
        yield Fault("SEG", _set(name, None), "empty", name)


def _removed(name: str, path: str = "") -> Change:
    return lambda dataset: delattr(_item(dataset, path), name)


def _set(name: str, value: object, path: str = "") -> Change:
    return lambda dataset: setattr(_item(dataset, path), name, value)


def _item(dataset: Dataset, path: str) -> Dataset:
    for step in path.split(".") if path else ():
        sequence, _, number = step.rstrip("]").partition("[")
        dataset = dataset[sequence].value[int(number)]
    return dataset
