"""Enumerated Values that later editions, or sections besides the tables, list."""

from collections.abc import Mapping
from typing import Final

from harvester.audits.conformance.standard import Attribute, Iod, Requirement, Values

_VALUES: Final[Mapping[str, Values]] = {
    "PhotometricInterpretation": Values(
        enumerated=True,
        texts=(
            *("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422"),
            *("YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT", "XYB"),
        ),
    ),
    "ct-image/PhotometricInterpretation": Values(enumerated=True, texts=("MONOCHROME1", "MONOCHROME2")),
    "ct-image/SamplesPerPixel": Values(enumerated=True, texts=("1",)),
    "ct-image/BitsAllocated": Values(enumerated=True, texts=("16",)),
    "mr-image/PhotometricInterpretation": Values(enumerated=True, texts=("MONOCHROME1", "MONOCHROME2")),
    "mr-image/SamplesPerPixel": Values(enumerated=True, texts=("1",)),
    "mr-image/BitsAllocated": Values(enumerated=True, texts=("16",)),
    "positron-emission-tomography-image/PhotometricInterpretation": Values(
        enumerated=True, texts=("MONOCHROME2",)
    ),
    "positron-emission-tomography-image/BitsAllocated": Values(enumerated=True, texts=("16",)),
    # PS3.3 C.8.12.4.1.5
    "vl-whole-slide-microscopy-image/PhotometricInterpretation": Values(
        enumerated=True, texts=("MONOCHROME2", "RGB", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "XYB")
    ),
    # PS3.3 C.8.32.2: by the kind of pixel data.
    "parametric-map/BitsAllocated": Values(enumerated=True, texts=("8", "16", "32", "64")),
    "segmentation/SegmentationType": Values(enumerated=True, texts=("BINARY", "FRACTIONAL", "LABELMAP")),
    "AnnotationGroupSequence/GraphicType": Values(
        enumerated=True, texts=("POINT", "POLYLINE", "POLYGON", "ELLIPSE", "RECTANGLE")
    ),
    "AnnotationGroupGenerationType": Values(enumerated=True, texts=("AUTOMATIC", "SEMIAUTOMATIC", "MANUAL")),
    "AnnotationCoordinateType": Values(enumerated=True, texts=("2D", "3D")),
    "AnnotationAppliesToAllOpticalPaths": Values(enumerated=True, texts=("YES", "NO")),
    "AnnotationAppliesToAllZPlanes": Values(enumerated=True, texts=("YES", "NO")),
    "SegmentsOverlap": Values(enumerated=True, texts=("YES", "NO", "UNDEFINED")),
    "PixelRepresentation": Values(enumerated=True, texts=("0", "1")),
    "PlanarConfiguration": Values(enumerated=True, texts=("0", "1")),
    "LossyImageCompression": Values(enumerated=True, texts=("00", "01")),
    "ImageLaterality": Values(enumerated=True, texts=("R", "L", "U", "B")),
}

_IMAGE_TYPE: Final = {1: ("ORIGINAL", "DERIVED"), 2: ("PRIMARY", "SECONDARY")}
_FRAMES_TYPE: Final = {1: ("ORIGINAL", "DERIVED", "MIXED"), 2: ("PRIMARY", "MIXED")}
_DERIVED: Final = {1: ("DERIVED",), 2: ("PRIMARY",)}
_MULTI_FRAME: Final = frozenset(
    {
        *("enhanced-ct-image", "enhanced-mr-image", "enhanced-pet-image", "breast-tomosynthesis-image"),
        *("enhanced-mr-color-image", "mr-spectroscopy", "x-ray-3d-angiographic-image"),
    }
)


def image_type_values(iod: Iod, keyword: str) -> tuple[Mapping[int, tuple[str, ...]], str]:
    """Enumerated Values of the first values of Image Type or Frame Type, by position, and the clause."""
    if iod.name in ("segmentation", "label-map-segmentation"):
        return _DERIVED, "PS3.3 C.8.20.2.1"
    if iod.name in _MULTI_FRAME:
        frame = {1: ("ORIGINAL", "DERIVED"), 2: ("PRIMARY",)}
        return (_FRAMES_TYPE if keyword == "ImageType" else frame), "PS3.3 C.8.16.1"
    if iod.name == "vl-whole-slide-microscopy-image":
        return {1: ("ORIGINAL", "DERIVED"), 2: ("PRIMARY",)}, "PS3.3 C.8.12.4.1.1"
    return (_IMAGE_TYPE, "PS3.3 C.7.6.1.1.2") if keyword == "ImageType" else ({}, "")


def value_count(iod: Iod, keyword: str) -> str | None:
    """The VM that an IOD prescribes (PS3.3 C.8.16.1); None: that of PS3.6."""
    return "4" if iod.name in _MULTI_FRAME and keyword in ("ImageType", "FrameType") else None


def listed_values(attribute: Attribute, iod: Iod, parent: str) -> list[tuple[Values, Requirement]]:
    """The lists of values of an attribute: those written here, else those of the tables of the modules.

    Enumerated Values of modules of usage M count each; other lists count together.
    """
    if parent == "PixelValueTransformationSequence":  # PS3.3 C.7.6.16.2.9.1: the values depend on the IOD
        return []
    written = _VALUES.get(f"{parent or iod.name}/{attribute.keyword}")
    written = written or _VALUES.get(attribute.keyword)
    if written is not None:
        return [(written, attribute.requirements[0])]
    enumerated = [one for one in attribute.values if one[0].enumerated]
    always = [one for one in enumerated if one[1].usage == "M"]
    if always:
        return always
    if enumerated and len(attribute.values) < len(attribute.requirements):
        return []  # the list of a module that may not apply
    if not attribute.values:
        return []
    texts = tuple(text for values, _ in attribute.values for text in values.texts)
    return [(Values(enumerated=bool(enumerated), texts=texts), attribute.values[0][1])]
