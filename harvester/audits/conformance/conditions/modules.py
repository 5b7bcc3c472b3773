"""Conditions of modules and functional groups of usage C, by name or `IOD/name`."""

from collections.abc import Mapping
from typing import Final

from harvester.audits.conformance.conditions.condition import Condition

_PALETTE: Final = 'PhotometricInterpretation == "PALETTE COLOR"'
_NOT_TILED_FULL: Final = 'not DimensionOrganizationType == "TILED_FULL"'
_GATED: Final = 'SeriesType[1] == "GATED"'

MODULE_CONDITIONS: Final[Mapping[str, Condition]] = {
    "palette-color-lookup-table": Condition(_PALETTE),
    "slide-label": Condition('ImageType[3] == "LABEL"'),
    "multi-frame": Condition("NumberOfFrames > 1"),
    "pet-multi-gated-acquisition": Condition(_GATED),
    "nm-tomo-acquisition": Condition(
        'ImageType[3] in ("TOMO", "GATED TOMO", "RECON TOMO", "RECON GATED TOMO")'
    ),
    "nm-multi-gated-acquisition": Condition('ImageType[3] in ("GATED", "GATED TOMO", "RECON GATED TOMO")'),
    "nm-phase": Condition('ImageType[3] == "DYNAMIC"'),
    "nm-reconstruction": Condition('ImageType[3] in ("RECON TOMO", "RECON GATED TOMO")'),
    "rt-dose/general-image": Condition("present(PixelData)"),
    "rt-dose/image-plane": Condition("present(PixelData)"),
    "rt-dose/image-pixel": Condition("present(PixelData)"),
    "rt-dose/multi-frame": Condition("present(PixelData) and NumberOfFrames > 1"),
    "parametric-map/image-pixel": Condition("present(PixelData)"),
    "floating-point-image-pixel": Condition("present(FloatPixelData)"),
    "double-floating-point-image-pixel": Condition("present(DoubleFloatPixelData)"),
    "multi-energy-ct-image": Condition('MultienergyCTAcquisition == "YES"'),
    # Functional groups, by IOD and sequence
    "vl-whole-slide-microscopy-image/PlanePositionSlideSequence": Condition(
        'not DimensionOrganizationType == "TILED_FULL"'
    ),
    "vl-whole-slide-microscopy-image/OpticalPathIdentificationSequence": Condition(
        'not DimensionOrganizationType == "TILED_FULL"'
    ),
    "segmentation/SegmentIdentificationSequence": Condition(
        f'{_NOT_TILED_FULL} and SegmentationType in ("BINARY", "FRACTIONAL")'
    ),
    "enhanced-ct-image/MultienergyCTCharacteristicsSequence": Condition('ImageType[4] == "VMI"'),
    "segmentation/FrameContentSequence": Condition('not DimensionOrganizationType == "TILED_FULL"'),
    "segmentation/PixelMeasuresSequence": Condition("present(FrameOfReferenceUID)"),
    "segmentation/PlanePositionSequence": Condition(
        "present(FrameOfReferenceUID) and not present(TotalPixelMatrixColumns)"
    ),
    "segmentation/PlaneOrientationSequence": Condition(
        "present(FrameOfReferenceUID) and not present(TotalPixelMatrixColumns)"
    ),
}
