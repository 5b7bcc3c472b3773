"""The lists of values that apply to an attribute."""

from typing import Final

from harvester.audits.conformance.conditions.value_lists import VALUES
from harvester.audits.conformance.standard import Attribute, Iod, Requirement, Values

_MULTI_FRAME: Final = frozenset(
    {
        *("enhanced-ct-image", "enhanced-mr-image", "enhanced-pet-image", "breast-tomosynthesis-image"),
        *("enhanced-mr-color-image", "mr-spectroscopy", "x-ray-3d-angiographic-image"),
    }
)
_SEGMENTATIONS: Final = frozenset({"segmentation", "label-map-segmentation"})


def _image_type(iod: Iod, keyword: str) -> tuple[Values, ...]:
    """Enumerated Values of the first values of Image Type and Frame Type."""
    first: tuple[str, ...] = ("ORIGINAL", "DERIVED")
    second: tuple[str, ...] = ("PRIMARY", "SECONDARY")
    clause = "PS3.3 C.7.6.1.1.2"
    if iod.name in _SEGMENTATIONS:
        first, second, clause = ("DERIVED",), ("PRIMARY",), "PS3.3 C.8.20.2.1"
    elif iod.name == "parametric-map":
        first, second, clause = ("DERIVED",), ("PRIMARY",), "PS3.3 C.8.32.2"
    elif iod.name in _MULTI_FRAME:
        mixed = ("MIXED",) if keyword == "ImageType" else ()
        first, second, clause = (*first, *mixed), ("PRIMARY", *mixed), "PS3.3 C.8.16.1"
    elif iod.name in ("vl-whole-slide-microscopy-image", "nuclear-medicine-image"):
        second = ("PRIMARY",)
        clause = "PS3.3 C.8.12.4.1.1" if iod.name.startswith("vl") else "PS3.3 C.8.4.9.1.1"
    elif keyword == "FrameType":
        return ()
    return (
        Values(enumerated=True, texts=first, position=1, clause=clause),
        Values(enumerated=True, texts=second, position=2, clause=clause),
    )


def value_count(iod: Iod, keyword: str) -> str | None:
    """The VM that an IOD prescribes (PS3.3 C.8.16.1, C.8.20.2, C.8.12.4); None: that of PS3.6."""
    if keyword not in ("ImageType", "FrameType"):
        return None
    if iod.name in _SEGMENTATIONS:
        return "2"
    of_four = (*_MULTI_FRAME, "parametric-map", "vl-whole-slide-microscopy-image")
    return "4" if iod.name in of_four else None


def listed_values(attribute: Attribute, iod: Iod, parent: str) -> list[tuple[Values, Requirement]]:
    """The lists of values of an attribute: those written here, else those of the tables of the modules.

    Enumerated Values of modules of usage M count each; other lists count together.
    """
    if parent == "PixelValueTransformationSequence":  # PS3.3 C.7.6.16.2.9.1: the values depend on the IOD
        return []
    keyword, found = attribute.keyword, attribute.values
    written: tuple[Values, ...] = ()
    if keyword in ("ImageType", "FrameType") and not found:
        written = _image_type(iod, keyword)
    written += VALUES.get(f"{parent or iod.name}/{keyword}", ()) or VALUES.get(keyword, ())
    if written:
        return [(one, attribute.requirements[0]) for one in written]
    enumerated = [one for one in found if one[0].enumerated]
    always = [one for one in enumerated if one[1].usage == "M"]
    if always:
        return always
    if enumerated and len(found) < len(attribute.requirements):
        return []  # the list of a module that may not apply
    if not found:
        return []
    texts = tuple(text for values, _ in found for text in values.texts)
    return [(Values(enumerated=bool(enumerated), texts=texts), found[0][1])]
