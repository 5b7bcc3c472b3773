"""Enumerated Values of the Image Pixel module, which most IODs specialize (PS3.3 C.7.6.3)."""

from collections.abc import Mapping
from typing import Final

from harvester.audits.conformance.standard import Values


def enumerated(*texts: str, clause: str = "", condition: str = "", position: int = 0) -> tuple[Values, ...]:
    """A list of Enumerated Values, by its fields."""
    return (Values(enumerated=True, texts=texts, position=position, condition=condition, clause=clause),)


def terms(*texts: str, clause: str = "", condition: str = "", position: int = 0) -> tuple[Values, ...]:
    """A list of Defined Terms, by its fields."""
    return (Values(enumerated=False, texts=texts, position=position, condition=condition, clause=clause),)


def whole(first: int, last: int) -> tuple[str, ...]:
    """Whole numbers as texts, the last included."""
    return tuple(map(str, range(first, last + 1)))


_MONOCHROME: Final = ("MONOCHROME1", "MONOCHROME2")
_ONE_SAMPLE: Final = 'PhotometricInterpretation in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")'
_THREE_SAMPLES: Final = (
    'PhotometricInterpretation in ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", '
    '"YBR_ICT", "YBR_RCT")'
)
_IS_MONOCHROME: Final = 'PhotometricInterpretation in ("MONOCHROME1", "MONOCHROME2")'
_IS_COLOR: Final = (
    'PhotometricInterpretation in ("RGB", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT")'
)
_BINARY: Final = 'SegmentationType == "BINARY"'
_FRACTIONAL: Final = 'SegmentationType == "FRACTIONAL"'
_LABEL_MAP: Final = 'SegmentationType == "LABELMAP"'
# Numbers of bits per IOD: (Bits Allocated, Bits Stored), without repeating those of the tables.
_BITS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...], str]]] = {
    "ct-image": (("16",), whole(12, 16), "PS3.3 C.8.2.1.1"),
    "mr-image": (("16",), (), "PS3.3 C.8.3.1.1"),
    "positron-emission-tomography-image": (("16",), ("16",), "PS3.3 C.8.9.4.1"),
    "enhanced-pet-image": (("16",), ("16",), "PS3.3 C.8.22.3.1"),
    "enhanced-ct-image": (("16",), ("12", "16"), "PS3.3 C.8.15.2.1"),
    "nuclear-medicine-image": ((), ("8", "16"), "PS3.3 C.8.4.10.1"),
    "x-ray-angiographic-image": (("8", "16"), ("8", "10", "12", "16"), "PS3.3 C.8.7.1.1"),
    "x-ray-radiofluoroscopic-image": (("8", "16"), ("8", "10", "12", "16"), "PS3.3 C.8.7.1.1"),
    "rt-dose": (("16", "32"), ("16", "32"), "PS3.3 C.8.8.3.4"),
    "vl-whole-slide-microscopy-image": (("8", "16"), ("8", "16"), "PS3.3 C.8.12.4.1"),
    **dict.fromkeys(
        (
            *(f"vl-{name}-image" for name in ("photographic", "endoscopic", "microscopic")),
            *(f"video-{name}-image" for name in ("photographic", "endoscopic", "microscopic")),
            "vl-slide-coordinates-microscopic-image",
        ),
        (("8",), ("8",), "PS3.3 C.8.12.1.1.2"),
    ),
    "multi-frame-single-bit-secondary-capture-image": (("1",), ("1",), "PS3.3 A.8.2.4"),
    "multi-frame-grayscale-byte-secondary-capture-image": (("8",), ("8",), "PS3.3 A.8.3.4"),
    "multi-frame-grayscale-word-secondary-capture-image": (("16",), whole(9, 16), "PS3.3 A.8.4.4"),
    "multi-frame-true-color-secondary-capture-image": (("8",), ("8",), "PS3.3 A.8.5.4"),
}
_PHOTOMETRIC: Final[Mapping[str, tuple[str, ...]]] = {
    "ct-image": _MONOCHROME,
    "mr-image": _MONOCHROME,
    "computed-radiography-image": _MONOCHROME,
    "digital-x-ray-image": _MONOCHROME,
    "digital-mammography-x-ray-image": _MONOCHROME,
    "positron-emission-tomography-image": ("MONOCHROME2",),
    "nuclear-medicine-image": ("MONOCHROME2", "PALETTE COLOR"),
    "x-ray-angiographic-image": ("MONOCHROME2",),
    "x-ray-radiofluoroscopic-image": ("MONOCHROME2",),
    "rt-dose": ("MONOCHROME2",),
    "parametric-map": ("MONOCHROME2",),
    "breast-tomosynthesis-image": ("MONOCHROME2",),
    "segmentation": ("MONOCHROME2", "PALETTE COLOR"),
    "multi-frame-single-bit-secondary-capture-image": ("MONOCHROME2",),
    "multi-frame-grayscale-byte-secondary-capture-image": ("MONOCHROME2",),
    "multi-frame-grayscale-word-secondary-capture-image": ("MONOCHROME2",),
    "multi-frame-true-color-secondary-capture-image": (
        *("RGB", "YBR_FULL_422", "YBR_RCT", "YBR_ICT", "YBR_PARTIAL_420"),
    ),
    # PS3.3 C.8.12.4.1.5
    "vl-whole-slide-microscopy-image": ("MONOCHROME2", "RGB", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "XYB"),
    "IconImageSequence": (*_MONOCHROME, "PALETTE COLOR"),
}
_UNSIGNED: Final = (
    *("IconImageSequence", "segmentation", "rt-dose", "vl-whole-slide-microscopy-image"),
    *("digital-x-ray-image", "digital-mammography-x-ray-image", "ultrasound-image"),
    *("ultrasound-multi-frame-image", "x-ray-angiographic-image", "x-ray-radiofluoroscopic-image"),
    *(name for name in _BITS if name.startswith("multi-frame-")),
)
PIXEL_VALUES: Final[Mapping[str, tuple[Values, ...]]] = {
    # The third value: bits of an entry
    **{
        f"{colour}PaletteColorLookupTableDescriptor": enumerated(
            "8", "16", position=3, clause="PS3.3 C.7.6.3.1.5"
        )
        for colour in ("Red", "Green", "Blue")
    },
    "ModalityLUTSequence/LUTDescriptor": enumerated("8", "16", position=3, clause="PS3.3 C.11.1.1.1"),
    "VOILUTSequence/LUTDescriptor": enumerated(*whole(8, 16), position=3, clause="PS3.3 C.11.2.1.1"),
    "PhotometricInterpretation": enumerated(
        *(*_MONOCHROME, "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422"),
        *("YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT", "XYB"),
    ),
    **{f"{iod}/PhotometricInterpretation": enumerated(*texts) for iod, texts in _PHOTOMETRIC.items()},
    "enhanced-ct-image/PhotometricInterpretation": enumerated("MONOCHROME2", clause="PS3.3 C.8.15.2.1.1.8"),
    "enhanced-pet-image/PhotometricInterpretation": enumerated("MONOCHROME2", clause="PS3.3 C.8.22.3.1"),
    "enhanced-mr-image/PhotometricInterpretation": enumerated("MONOCHROME2", clause="PS3.3 C.8.13.1.1.5"),
    **{
        f"{iod}/PhotometricInterpretation": enumerated(
            *("MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422"),
            *("YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT", "XYB"),
            clause="PS3.3 C.8.5.6.1.2",
        )
        for iod in ("ultrasound-image", "ultrasound-multi-frame-image")
    },
    "SamplesPerPixel": (
        *enumerated("1", condition=_ONE_SAMPLE, clause="PS3.3 C.7.6.3.1.1"),
        *enumerated("3", condition=_THREE_SAMPLES, clause="PS3.3 C.7.6.3.1.1"),
    ),
    **{
        f"{place}/SamplesPerPixel": enumerated("1")
        for place, texts in _PHOTOMETRIC.items()
        if not {"RGB", "YBR_FULL_422"} & set(texts)
    },
    "multi-frame-true-color-secondary-capture-image/SamplesPerPixel": enumerated("3"),
    **{
        f"{iod}/{keyword}": enumerated(*bits, clause=clause)
        for iod, (allocated, stored, clause) in _BITS.items()
        for keyword, bits in (("BitsAllocated", allocated), ("BitsStored", stored))
        if bits
    },
    **{
        f"enhanced-mr-image/{keyword}": (
            *enumerated(*gray, condition=_IS_MONOCHROME, clause="PS3.3 C.8.13.1.1.5"),
            *enumerated("8", condition=_IS_COLOR, clause="PS3.3 C.8.13.1.1.5"),
        )
        for keyword, gray in (("BitsAllocated", ("8", "16")), ("BitsStored", ("8", "12", "16")))
    },
    **{
        f"segmentation/{keyword}": (
            *enumerated("1", condition=_BINARY, clause="PS3.3 C.8.20.2.1"),
            *enumerated("8", condition=_FRACTIONAL, clause="PS3.3 C.8.20.2.1"),
            *enumerated("8", "16", condition=_LABEL_MAP, clause="PS3.3 C.8.20.2.1"),
        )
        for keyword in ("BitsAllocated", "BitsStored")
    },
    **{
        f"ultrasound-{kind}/{keyword}": (
            *enumerated(
                "8", condition='PhotometricInterpretation != "PALETTE COLOR"', clause="PS3.3 C.8.5.6.1"
            ),
            *enumerated(
                "8", "16", condition='PhotometricInterpretation == "PALETTE COLOR"', clause="PS3.3 C.8.5.6.1"
            ),
        )
        for kind in ("image", "multi-frame-image")
        for keyword in ("BitsAllocated", "BitsStored")
    },
    "parametric-map/BitsAllocated": (
        *enumerated("8", "16", condition="present(PixelData)", clause="PS3.3 C.8.32.2"),
        *enumerated("32", condition="present(FloatPixelData)", clause="PS3.3 C.7.6.24"),
        *enumerated("64", condition="present(DoubleFloatPixelData)", clause="PS3.3 C.7.6.25"),
    ),
    "IconImageSequence/BitsAllocated": enumerated("1", "8", clause="PS3.3 C.7.6.1.1.6"),
    "IconImageSequence/BitsStored": enumerated("1", "8", clause="PS3.3 C.7.6.1.1.6"),
    "PixelRepresentation": enumerated("0", "1"),
    **{f"{place}/PixelRepresentation": enumerated("0") for place in _UNSIGNED},
    "PlanarConfiguration": enumerated("0", "1"),
    **{
        f"{iod}/PlanarConfiguration": enumerated("0")
        for iod in (
            *("enhanced-mr-image", "vl-whole-slide-microscopy-image"),
            "multi-frame-true-color-secondary-capture-image",
        )
    },
}
