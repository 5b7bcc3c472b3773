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
    # Not of a value that is none of the Enumerated Values: that is reported.
    "SegmentSequence/SegmentAlgorithmName": Condition(
        'SegmentAlgorithmType in ("AUTOMATIC", "SEMIAUTOMATIC")', forbidden='SegmentAlgorithmType == "MANUAL"'
    ),
    "AnnotationGroupAlgorithmIdentificationSequence": Condition(
        'AnnotationGroupGenerationType in ("AUTOMATIC", "SEMIAUTOMATIC")', otherwise=False
    ),
    "AnnotationAppliesToAllZPlanes": Condition('root.AnnotationCoordinateType == "3D"', otherwise=False),
    "ReferencedOpticalPathIdentifier": Condition(
        'AnnotationAppliesToAllOpticalPaths == "NO"', otherwise=False
    ),
    "PointCoordinatesData": Condition("not present(DoublePointCoordinatesData)", otherwise=False),
    "DoublePointCoordinatesData": Condition("not present(PointCoordinatesData)", otherwise=False),
    "LongPrimitivePointIndexList": Condition('GraphicType in ("POLYLINE", "POLYGON")', otherwise=False),
    "microscopy-bulk-simple-annotations/PixelOriginInterpretation": Condition(
        'AnnotationCoordinateType == "2D"', otherwise=False
    ),
    "microscopy-bulk-simple-annotations/ReferencedImageSequence": Condition(
        'AnnotationCoordinateType == "2D"', otherwise=True
    ),
    "ImageOrientationSlide": Condition(
        'DimensionOrganizationType == "TILED_FULL"'
        " or present(SharedFunctionalGroupsSequence.PlanePositionSlideSequence)"
        " or present(PerFrameFunctionalGroupsSequence.PlanePositionSlideSequence)",
        otherwise=False,
        clause="PS3.3 C.8.12.14",
    ),
    "parametric-map-image/PaletteColorLookupTableUID": Condition(
        'PixelPresentation == "COLOR_RANGE" and not present(RedPaletteColorLookupTableDescriptor)',
        otherwise=True,
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
    f"{CONTENT_ITEM}/ReferencedContentItemIdentifier": Condition(
        "not present(ValueType)", otherwise=False, clause=_CONTENT
    ),
    # Presentation states
    "GraphicAnnotationSequence/TextObjectSequence": Condition(
        "not present(GraphicObjectSequence)", otherwise=True
    ),
    "GraphicAnnotationSequence/GraphicObjectSequence": Condition(
        "not present(TextObjectSequence)", otherwise=True
    ),
    "BoundingBoxTopLeftHandCorner": Condition(
        "not present(AnchorPoint) or present(BoundingBoxBottomRightHandCorner)", otherwise=True
    ),
    "BoundingBoxBottomRightHandCorner": Condition(
        "not present(AnchorPoint) or present(BoundingBoxTopLeftHandCorner)", otherwise=True
    ),
    "DisplayedAreaSelectionSequence/PixelOriginInterpretation": Condition(
        '"1.2.840.10008.5.1.4.1.1.77.1.6" in ReferencedImageSequence.ReferencedSOPClassUID', otherwise=True
    ),
    "presentation-state-shutter/ShutterPresentationValue": Condition("present(ShutterShape)"),
    "presentation-state-shutter/ShutterPresentationColorCIELabValue": Condition(
        'present(ShutterShape) and SOPClassUID != "1.2.840.10008.5.1.4.1.1.11.1"',
        forbidden='not present(ShutterShape) or SOPClassUID == "1.2.840.10008.5.1.4.1.1.11.1"',
    ),
    "presentation-state-mask/MaskSubtractionSequence": Condition(
        "present(RecommendedViewingMode)", otherwise=True
    ),
    "PresentationPixelSpacing": Condition('PresentationSizeMode == "TRUE SIZE"'),
    "HL7InstanceIdentifier": Condition('MIMETypeOfEncapsulatedDocument == "text/XML"'),
}
