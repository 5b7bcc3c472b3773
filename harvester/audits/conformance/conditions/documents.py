"""Conditions of structured reports, presentation states, slides, segmentations and annotations."""

from collections.abc import Mapping
from typing import Final

from harvester.audits.conformance.conditions.condition import CONTENT_ITEM, Condition

_CONTENT: Final = "PS3.3 C.17.3.2"

DOCUMENTS: Final[Mapping[str, Condition]] = {
    # Whole slide images, segmentations, annotations
    "ImagedVolumeWidth": Condition('ImageType[3] in ("VOLUME", "THUMBNAIL")'),
    "ImagedVolumeHeight": Condition('ImageType[3] in ("VOLUME", "THUMBNAIL")'),
    "ImagedVolumeDepth": Condition('ImageType[3] in ("VOLUME", "THUMBNAIL")'),
    "TotalPixelMatrixFocalPlanes": Condition('DimensionOrganizationType == "TILED_FULL"'),
    "NumberOfFocalPlanes": Condition('ExtendedDepthOfField == "YES"', otherwise=False),
    "IlluminationWaveLength": Condition("not present(IlluminationColorCodeSequence)"),
    "TrackingID": Condition("present(TrackingUID)"),
    "TrackingUID": Condition("present(TrackingID)"),
    "SegmentSequence/SegmentAlgorithmName": Condition(
        'SegmentAlgorithmType in ("AUTOMATIC", "SEMIAUTOMATIC")'
    ),
    "AnnotationGroupAlgorithmIdentificationSequence": Condition(
        'AnnotationGroupGenerationType in ("AUTOMATIC", "SEMIAUTOMATIC")'
    ),
    # Structured reports and content items (PS3.3 C.17.3, 10.2)
    "ConceptNameCodeSequence": Condition(
        'ValueType in ("TEXT", "NUM", "CODE", "DATETIME", "DATE", "TIME", "UIDREF", "PNAME")',
        otherwise=True,
        clause=_CONTENT,
    ),
    **{
        name: Condition(" or ".join(f'ValueType == "{one}"' for one in types.split()), clause=_CONTENT)
        for name, types in {
            "TextValue": "TEXT",
            "DateTime": "DATETIME",
            "Date": "DATE",
            "Time": "TIME",
            "PersonName": "PNAME",
            "UID": "UIDREF",
            "ConceptCodeSequence": "CODE",
            "NumericValue": "NUMERIC",
            "MeasurementUnitsCodeSequence": "NUMERIC",
            # Macros that PS3.3 C.18 includes by Value Type: Type 1 or 2 there
            f"{CONTENT_ITEM}/ConceptCodeSequence": "CODE",
            f"{CONTENT_ITEM}/MeasuredValueSequence": "NUM",
            f"{CONTENT_ITEM}/ContinuityOfContent": "CONTAINER",
            f"{CONTENT_ITEM}/ReferencedSOPSequence": "IMAGE COMPOSITE WAVEFORM",
            f"{CONTENT_ITEM}/GraphicType": "SCOORD SCOORD3D",
            f"{CONTENT_ITEM}/GraphicData": "SCOORD SCOORD3D",
            f"{CONTENT_ITEM}/ReferencedFrameOfReferenceUID": "SCOORD3D",
            f"{CONTENT_ITEM}/TemporalRangeType": "TCOORD",
            f"{CONTENT_ITEM}/TabulatedValuesSequence": "TABLE",
        }.items()
    },
    f"{CONTENT_ITEM}/ValueType": Condition("not present(ReferencedContentItemIdentifier)", clause=_CONTENT),
    # Presentation states
    "PresentationPixelSpacing": Condition('PresentationSizeMode == "TRUE SIZE"'),
    "HL7InstanceIdentifier": Condition('MIMETypeOfEncapsulatedDocument == "text/XML"'),
}
