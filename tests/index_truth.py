"""IDC's index tables computed in plain Python from what pydicom reads: no SQL, no harvester.

A header is a dictionary of keyword to value, as `pydicom_oracle.expected_row` gives it. Of a column that
IDC takes from any one instance of a series, the truth is the set of values that are right.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

Header = dict[str, Any]
CT, MR, PT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.128"
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
ANNOTATIONS = "1.2.840.10008.5.1.4.1.1.91.1"
STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"


@dataclass(frozen=True)
class AnyOf:
    """One of these values; NULL or an empty list if there is none."""

    values: tuple[Any, ...]

    def __eq__(self, other: object) -> bool:
        return other in self.values or (other in (None, []) and not [v for v in self.values if v])

    __hash__ = None  # type: ignore[assignment]


def items(header: Header | None, *path: str) -> list[Header]:
    """All items of a sequence of sequences."""
    level = [header or {}]
    for keyword in path:
        level = [item for above in level for item in above.get(keyword) or []]
    return level


def first(header: Header | None, *path: str) -> Header:
    """The first item of the first item ...; an empty one if there is none."""
    item = header or {}
    for keyword in path:
        item = (item.get(keyword) or [{}])[0]
    return item


def at(values: list[Any] | None, index: int) -> Any:
    return values[index] if values is not None and len(values) > index else None


def by_series(headers: Iterable[Header], keep: Callable[[Header], bool]) -> dict[str | None, list[Header]]:
    series = defaultdict(list)
    for header in headers:
        if keep(header):
            series[header.get("SeriesInstanceUID")].append(header)
    return dict(series)


def any_of(headers: list[Header], value: Callable[[Header], Any] | str) -> AnyOf:
    read = (lambda header: header.get(value)) if isinstance(value, str) else value
    return AnyOf(tuple(found for header in headers if (found := read(header)) is not None))


def distinct(values: Iterable[Any]) -> list[Any]:
    return sorted({value for value in values if value is not None})


def least(headers: list[Header], keyword: str) -> Any:
    return min((h[keyword] for h in headers if h.get(keyword) is not None), default=None)


def most(headers: list[Header], keyword: str) -> Any:
    return max((h[keyword] for h in headers if h.get(keyword) is not None), default=None)


def joined(*parts: str | None) -> str | None:
    return None if None in parts else ":".join(part or "" for part in parts)


def of_class(*uids: str) -> Callable[[Header], bool]:
    return lambda header: header.get("SOPClassUID") in uids


def ct_index(headers: list[Header]) -> dict[Any, Header]:
    plain = ("Rows", "Columns", "SliceThickness", "KVP", "ScanOptions", "ConvolutionKernel", "ImageType")
    plain += ("GantryDetectorTilt", "FilterType", "DataCollectionDiameter", "ReconstructionDiameter")
    plain += ("SpiralPitchFactor",)
    return {
        uid: {name: any_of(series, name) for name in plain}
        | {f"{name}_min": least(series, name) for name in ("XRayTubeCurrent", "Exposure", "ExposureTime")}
        | {f"{name}_max": most(series, name) for name in ("XRayTubeCurrent", "Exposure", "ExposureTime")}
        | spacing(series)
        for uid, series in by_series(headers, of_class(CT)).items()
    }


def spacing(series: list[Header]) -> Header:
    return {
        "PixelSpacing_row_mm": any_of(series, lambda h: at(h.get("PixelSpacing"), 0)),
        "PixelSpacing_col_mm": any_of(series, lambda h: at(h.get("PixelSpacing"), 1)),
    }


def mr_index(headers: list[Header]) -> dict[Any, Header]:
    plain = ("MagneticFieldStrength", "ScanningSequence", "SequenceVariant", "MRAcquisitionType", "Rows")
    plain += ("RepetitionTime", "EchoTrainLength", "FlipAngle", "PixelBandwidth", "ImagingFrequency")
    plain += ("ImagedNucleus", "Columns", "SliceThickness", "InversionTime", "ReceiveCoilName")
    plain += ("SequenceName", "NumberOfTemporalPositions")
    return {
        uid: {name: any_of(series, name) for name in plain}
        | {name: distinct(h.get(name) for h in series) for name in ("EchoTime", "DiffusionBValue")}
        | spacing(series)
        for uid, series in by_series(headers, of_class(MR)).items()
    }


def pt_index(headers: list[Header]) -> dict[Any, Header]:
    plain = ("Units", "DecayCorrection", "CorrectedImage", "RandomsCorrectionMethod", "ReconstructionMethod")
    plain += ("ScatterCorrectionMethod", "AttenuationCorrectionMethod", "Rows", "Columns", "SliceThickness")
    plain += ("NumberOfSlices", "NumberOfTimeSlices")
    dose = "RadiopharmaceuticalInformationSequence"
    return {
        uid: {name: any_of(series, name) for name in plain}
        | {
            "SeriesType": any_of(series, lambda h: "/".join(h.get("SeriesType") or []) or None),
            "ActualFrameDuration": distinct(h.get("ActualFrameDuration") for h in series),
            "RadionuclideCodeMeaning": any_of(
                series, lambda h: first(h, dose, "RadionuclideCodeSequence").get("CodeMeaning")
            ),
            "RadionuclideTotalDose": any_of(series, lambda h: first(h, dose).get("RadionuclideTotalDose")),
            "RadiopharmaceuticalStartTime": any_of(
                series, lambda h: str(first(h, dose).get("RadiopharmaceuticalStartTime") or "") or None
            ),
            "Radiopharmaceutical": any_of(series, lambda h: first(h, dose).get("Radiopharmaceutical")),
        }
        | spacing(series)
        for uid, series in by_series(headers, of_class(PT)).items()
    }


def contrast_index(headers: list[Header]) -> dict[Any, Header]:
    names = ("ContrastBolusAgent", "ContrastBolusIngredient", "ContrastBolusRoute")
    series = by_series(headers, lambda h: h["Modality"] in ("CT", "MR", "PT", "XA", "RF"))
    rows = {
        uid: {name: distinct(h.get(name) for h in found) for name in names} for uid, found in series.items()
    }
    return {uid: row for uid, row in rows.items() if uid is not None and any(row.values())}


def ann_index(headers: list[Header]) -> list[Header]:
    return [
        {
            "SeriesInstanceUID": h["SeriesInstanceUID"],
            "AnnotationCoordinateType": h.get("AnnotationCoordinateType"),
            "referenced_SeriesInstanceUID": first(h, "ReferencedSeriesSequence").get("SeriesInstanceUID"),
        }
        for h in headers
        if of_class(ANNOTATIONS)(h)
    ]


def ann_group_index(headers: list[Header]) -> list[Header]:
    return [
        {
            "SeriesInstanceUID": h["SeriesInstanceUID"],
            **{name: group.get(name) for name in GROUP_ATTRIBUTES},
            **{
                column: value
                for kind in ("Category", "Type")
                for code in (first(group, f"AnnotationProperty{kind}CodeSequence"),)
                for column, value in (
                    (
                        f"AnnotationProperty{kind}_code",
                        joined(code.get("CodingSchemeDesignator"), code.get("CodeValue")),
                    ),
                    (f"AnnotationProperty{kind}_CodeMeaning", code.get("CodeMeaning")),
                )
            },
            "AlgorithmName": first(group, "AnnotationGroupAlgorithmIdentificationSequence").get(
                "AlgorithmName"
            ),
        }
        for h in headers
        if of_class(ANNOTATIONS)(h)
        for group in items(h, "AnnotationGroupSequence")
    ]


GROUP_ATTRIBUTES = (
    "AnnotationGroupNumber",
    "AnnotationGroupUID",
    "AnnotationGroupLabel",
    "AnnotationGroupGenerationType",
    "NumberOfAnnotations",
    "GraphicType",
)


def rtstruct_index(headers: list[Header]) -> dict[Any, Header]:
    rows = {}
    for uid, found in by_series(headers, of_class(STRUCTURE_SET)).items():
        rois = [(h, roi) for h in found for roi in items(h, "StructureSetROISequence")]
        if not rois:
            continue
        types = [
            observation.get("RTROIInterpretedType")
            for h, roi in rois
            for observation in items(h, "RTROIObservationsSequence")
            if observation.get("ReferencedROINumber") == roi.get("ROINumber") is not None
        ]
        path = ("ReferencedFrameOfReferenceSequence", "RTReferencedStudySequence")
        referenced = [item for h in found for item in items(h, *path, "RTReferencedSeriesSequence")]
        rows[uid] = {
            "total_rois": len(distinct(roi.get("ROINumber") for _, roi in rois)),
            "ROINames": distinct(roi.get("ROIName") for _, roi in rois),
            "ROIGenerationAlgorithms": distinct(roi.get("ROIGenerationAlgorithm") for _, roi in rois),
            "RTROIInterpretedTypes": distinct(types),
            "referenced_SeriesInstanceUID": any_of(referenced, "SeriesInstanceUID"),
        }
    return rows


def seg_index(headers: list[Header]) -> dict[Any, Header]:
    by_sop = defaultdict(list)
    for header in headers:
        by_sop[header.get("SOPInstanceUID")].append(header.get("SeriesInstanceUID"))
    rows = {}
    for uid, found in by_series(headers, of_class(*SEGMENTATIONS)).items():
        segments = [segment for h in found for segment in items(h, "SegmentSequence")]
        if not segments:
            continue
        referenced = [uid for h in found if h["Modality"] == "SEG" for uid in by_sop.get(segmented(h), [])]
        rows[uid] = {
            "SegmentationType": any_of(found, "SegmentationType"),
            "total_segments": len(distinct(s.get("SegmentNumber") for s in segments)),
            "AlgorithmType": ",".join(distinct(s.get("SegmentAlgorithmType") for s in segments)) or None,
            "AlgorithmName": ",".join(distinct(at(s.get("SegmentAlgorithmName"), 0) for s in segments))
            or None,
            "segmented_SeriesInstanceUID": AnyOf(tuple(uid for uid in referenced if uid is not None)),
            **{
                f"{column}_CodeMeanings": distinct(first(s, sequence).get("CodeMeaning") for s in segments)
                for column, sequence in (
                    ("SegmentedPropertyCategory", "SegmentedPropertyCategoryCodeSequence"),
                    ("SegmentedPropertyType", "SegmentedPropertyTypeCodeSequence"),
                    ("AnatomicRegion", "AnatomicRegionSequence"),
                )
            },
        }
    return rows


def segmented(header: Header) -> Any:
    """The first of the images that a segmentation refers to."""
    return (
        first(header, "ReferencedSeriesSequence", "ReferencedInstanceSequence").get(
            "ReferencedSOPInstanceUID"
        )
        or first(header, "ReferencedImageSequence").get("ReferencedSOPInstanceUID")
        or first(header, "SourceImageSequence").get("ReferencedSOPInstanceUID")
    )


PREPARATIONS = {
    "embeddingMedium": "430863003",
    "tissueFixative": "430864009",
    "staining_usingSubstance": "424361007",
}


def preparations(headers: list[Header]) -> Header:
    """Embedding medium, fixative and stains, as names and as codes, in the order of both together."""
    row: Header = {}
    for column, code in PREPARATIONS.items():
        found = set()
        for header in headers:
            specimen = first(header, "SpecimenDescriptionSequence")
            for item in items(
                specimen, "SpecimenPreparationSequence", "SpecimenPreparationStepContentItemSequence"
            ):
                for name in items(item, "ConceptNameCodeSequence"):
                    if (name.get("CodingSchemeDesignator"), name.get("CodeValue")) == ("SCT", code):
                        found |= {
                            joined(v.get("CodeMeaning"), v.get("CodingSchemeDesignator"), v.get("CodeValue"))
                            for v in items(item, "ConceptCodeSequence")
                        }
        texts = sorted(text for text in found if text is not None)
        row[f"{column}_CodeMeaning"] = [text.split(":")[0] for text in texts]
        row[f"{column}_code_designator_value_str"] = [text.split(":", 1)[1] for text in texts]
    return row


def sm_instance_index(headers: list[Header]) -> dict[Any, Header]:
    return {
        h["crdc_instance_uuid"]: {
            "SOPInstanceUID": h["SOPInstanceUID"],
            "SeriesInstanceUID": h["SeriesInstanceUID"],
            **preparations([one for one in headers if one.get("SOPInstanceUID") == h["SOPInstanceUID"]]),
            "PixelSpacing_0": at(
                first(h, "SharedFunctionalGroupsSequence", "PixelMeasuresSequence").get("PixelSpacing"), 0
            ),
            "ImageType": h.get("ImageType") or [],
            "TransferSyntaxUID": h["TransferSyntaxUID"],
            "instance_size": h["instance_size"],
            "TotalPixelMatrixColumns": h.get("TotalPixelMatrixColumns"),
            "TotalPixelMatrixRows": h.get("TotalPixelMatrixRows"),
        }
        for h in headers
        if h["Modality"] == "SM"
    }


def code_text(item: Header) -> str | None:
    return joined(item.get("CodingSchemeDesignator"), item.get("CodeValue"), item.get("CodeMeaning"))


def least_code(series: list[Header], *path: str) -> tuple[str | None, str | None]:
    """Designator and value, then meaning, of the alphabetically first code of a series."""
    texts = distinct(code_text(first(h, *path)) for h in series)
    if not texts:
        return None, None
    designator, value, meaning = texts[0].split(":")[:3]
    return f"{designator}:{value}", meaning


def sm_index(headers: list[Header]) -> dict[Any, Header]:
    anatomy = ("SpecimenDescriptionSequence", "PrimaryAnatomicStructureSequence")
    codes = {
        "primaryAnatomicStructure": anatomy,
        "primaryAnatomicStructureModifier": (*anatomy, "PrimaryAnatomicStructureModifierSequence"),
        "illuminationType": ("OpticalPathSequence", "IlluminationTypeCodeSequence"),
        "admittingDiagnosis": ("AdmittingDiagnosesCodeSequence",),
    }
    rows = {}
    for uid, series in by_series(headers, lambda h: h["Modality"] == "SM").items():
        own = [at(h.get("PixelSpacing"), 0) for h in series]
        shared = [
            at(first(h, "SharedFunctionalGroupsSequence", "PixelMeasuresSequence").get("PixelSpacing"), 0)
            for h in series
        ]
        widths = most(series, "TotalPixelMatrixColumns")
        heights = most(series, "TotalPixelMatrixRows")
        rows[uid] = {
            "ContainerIdentifier": any_of(series, "ContainerIdentifier"),
            **preparations(series),
            "min_PixelSpacing_2sf": two_figures((distinct(own) or distinct(shared) or [None])[0]),
            "max_TotalPixelMatrixColumns": most(series, "Columns") if widths is None else widths,
            "max_TotalPixelMatrixRows": most(series, "Rows") if heights is None else heights,
            "ObjectiveLensPower": any_of(
                series, lambda h: first(h, "OpticalPathSequence").get("ObjectiveLensPower")
            ),
        }
        for column, path in codes.items():
            code, meaning = least_code(series, *path)
            rows[uid] |= {f"{column}_code_designator_value_str": code, f"{column}_CodeMeaning": meaning}
    return rows


def two_figures(value: float | None) -> float | None:
    return value and float(f"{value:.2g}")


def volume_geometry_index(headers: list[Header]) -> dict[Any, Header]:
    excluded = {
        h.get("SeriesInstanceUID")
        for h in headers
        for kind in h.get("ImageType") or []
        if kind == "LOCALIZER" or "MIP" in (kind or "")
    }
    series = by_series(headers, lambda h: of_class(CT, MR, PT)(h) and h.get("SOPInstanceUID") is not None)
    return {uid: geometry(joined_twice(found)) for uid, found in series.items() if uid not in excluded}


def joined_twice(series: list[Header]) -> list[Header]:
    """IDC's definition joins a series with itself by SOPInstanceUID: two copies of one become four."""
    copies = Counter(h["SOPInstanceUID"] for h in series)
    return [h for h in series for _ in range(copies[h["SOPInstanceUID"]])]


def geometry(series: list[Header]) -> Header:
    """The geometry of a series as a volume, by the definitions of PS3.3 C.7.6.2.1.1."""
    placed = [one for one in map(plane, series) if one is not None]
    row: Header = {
        "single_orientation": len({tuple(h.get("ImageOrientationPatient") or ()) for h in series}) == 1,
        "consistent_pixel_spacing": len({tuple(h.get("PixelSpacing") or ()) for h in series}) == 1,
        "consistent_image_dimensions": len(distinct(h.get("Rows") for h in series)) == 1
        and len(distinct(h.get("Columns") for h in series)) == 1,
        "unique_slice_positions": len({h["SOPInstanceUID"] for h in series})
        == len({one.position for one in placed}),
    }
    checks = ("orthogonal_orientation", "consistent_in_plane_row", "consistent_in_plane_col")
    row |= dict.fromkeys((*checks, "uniform_slice_spacing"))
    spacing_mm = None
    if placed:
        sizes = [one.size for one in placed]
        row["orthogonal_orientation"] = min(sizes) >= 0.99 and max(sizes) <= 1.01
        for name, values in (
            ("row", [p.along_row for p in placed]),
            ("col", [p.along_column for p in placed]),
        ):
            row[f"consistent_in_plane_{name}"] = max(values) - min(values) < 0.1
        positions = sorted(one.position for one in placed)
        if len(series) > 1:
            spacing_mm = (positions[-1] - positions[0]) / (len(series) - 1)
            steps = [after - before for before, after in pairwise(positions)]
            if steps:
                row["uniform_slice_spacing"] = max(abs(s - spacing_mm) for s in steps) < 0.01 * abs(
                    spacing_mm
                )
        row["obliquity_degrees"] = AnyOf(tuple(round(one.obliquity, 2) for one in placed))
    else:
        row["obliquity_degrees"] = None
    volume = every(row[name] for name in (*checks, *CHECKS))
    lowest = min(placed, key=lambda one: one.position) if placed else None
    row |= {
        "regularly_spaced_3d_volume": volume,
        "origin_patient": lowest.origin if volume and lowest else [],
        "ImageOrientationPatient": lowest.orientation if volume and lowest else [],
        "slice_spacing_mm": spacing_mm if volume else None,
    }
    return row


CHECKS = (
    "single_orientation",
    "consistent_pixel_spacing",
    "consistent_image_dimensions",
    "unique_slice_positions",
    "uniform_slice_spacing",
)


def every(checks: Iterable[bool | None]) -> bool | None:
    """SQL's AND: false beats unknown."""
    found = list(checks)
    return False if False in found else None if None in found else True


@dataclass(frozen=True)
class Plane:
    """The position of one image: its normal's length, and its corner along normal, row and column."""

    origin: list[float]
    orientation: list[float]
    size: float
    position: float
    along_row: float
    along_column: float
    obliquity: float


def plane(header: Header) -> Plane | None:
    origin, orientation = header.get("ImagePositionPatient"), header.get("ImageOrientationPatient")
    if not origin or not orientation or len(origin) < 3 or len(orientation) < 6:
        return None
    row, column = orientation[:3], orientation[3:6]
    normal = [
        row[1] * column[2] - row[2] * column[1],
        row[2] * column[0] - row[0] * column[2],
        row[0] * column[1] - row[1] * column[0],
    ]
    size = math.sqrt(dot(normal, normal))
    tilt = min(1.0, max(map(abs, normal)) / size)
    return Plane(
        origin,
        orientation,
        size,
        dot(origin, normal),
        dot(origin, row),
        dot(origin, column),
        math.degrees(math.acos(tilt)),
    )


def dot(one: list[float], other: list[float]) -> float:
    return one[0] * other[0] + one[1] * other[1] + one[2] * other[2]
