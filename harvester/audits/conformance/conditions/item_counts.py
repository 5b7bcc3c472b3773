"""Numbers of items of sequences that later editions, or sections besides the tables, prescribe."""

from collections.abc import Mapping
from typing import Final

from harvester.audits.conformance.standard import Attribute, weakest

# By keyword, or by `sequence/keyword`: VMs, or `=` and the keyword of the attribute that counts the items.
_COUNTS: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    # Each beam and channel has a first and a last control point.
    "ControlPointSequence": (("2-n", "PS3.3 C.8.8.14.5"), ("=NumberOfControlPoints", "PS3.3 C.8.8.14")),
    "IonControlPointSequence": (("2-n", "PS3.3 C.8.8.25.7"), ("=NumberOfControlPoints", "PS3.3 C.8.8.25")),
    "BrachyControlPointSequence": (("2-n", "PS3.3 C.8.8.15.8"), ("=NumberOfControlPoints", "PS3.3 C.8.8.15")),
    # Codes and references of later editions
    **dict.fromkeys(
        (
            *("AnnotationPropertyCategoryCodeSequence", "AnnotationPropertyTypeCodeSequence"),
            *(
                "MeasurementsSequence/ConceptNameCodeSequence",
                "MeasurementsSequence/MeasurementUnitsCodeSequence",
            ),
            "AnnotationGroupSequence/AnnotationGroupAlgorithmIdentificationSequence",
        ),
        (("1", "PS3.3 C.37.1.2"),),
    ),
    "OpticalPathSequence/ChannelDescriptionCodeSequence": (("1-3", "PS3.3 C.8.12.5"),),
    "TotalPixelMatrixOriginSequence": (("1", "PS3.3 C.8.12.14"),),
    "ReferencedPatientPhotoSequence": (("1", "PS3.3 C.7.1.1"),),
    "StructureSetROISequence/ROICreatorSequence": (("1", "PS3.3 C.8.8.5"),),
    "RTROIObservationsSequence/ROIInterpreterSequence": (("1", "PS3.3 C.8.8.8"),),
    "RTROIObservationsSequence/RTROIIdentificationCodeSequence": (("1", "PS3.3 C.8.8.8"),),
    "RTROIObservationsSequence/SegmentedPropertyCategoryCodeSequence": (("1", "PS3.3 C.8.8.8"),),
    "ROIContourSequence/SourcePixelPlanesCharacteristicsSequence": (("1", "PS3.3 C.8.8.6"),),
    "DetectorInformationSequence/ViewCodeSequence": (("0-1", "PS3.3 C.8.4.11"),),
}


def item_counts(attribute: Attribute, parent: str) -> list[tuple[str, str]]:
    """The numbers of items that a sequence may have, each with its clause; empty: any number.

    In an item the modules that define it must agree; at the top level all modules of usage M count.

    Args:
        attribute: The sequence.
        parent: The sequence that holds it; empty at the top.
    """
    keyword = attribute.keyword
    written = _COUNTS.get(f"{parent}/{keyword}") or _COUNTS.get(keyword)
    if written is not None:
        return list(written)
    counts = set(attribute.item_counts)
    if len(counts) == 1:
        return [(count, weakest(attribute).clause) for count in counts if count]
    pairs = zip(attribute.item_counts, attribute.requirements, strict=True)
    always = {count: one.clause for count, one in pairs if count and one.usage == "M"}
    return [] if parent else list(always.items())
