"""Conditions of CT, MR, PET, enhanced multi-frame images and projection X-ray."""

from collections.abc import Mapping
from typing import Final

from harvester.audits.conformance.conditions.condition import Condition

_ORIGINAL: Final = 'ImageType[1] in ("ORIGINAL", "MIXED")'
_OF_ORIGINAL: Final = 'root.ImageType[1] == "ORIGINAL"'
_NOT_TILED_FULL: Final = 'not DimensionOrganizationType == "TILED_FULL"'
_ENHANCED: Final = (
    '("1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.130")'
)
_GATED: Final = 'SeriesType[1] == "GATED"'

ACQUISITION: Final[Mapping[str, Condition]] = {
    # CT, MR, PET
    "WaterEquivalentDiameterCalculationMethodCodeSequence": Condition("present(WaterEquivalentDiameter)"),
    "mr-image/RepetitionTime": Condition('not ("EP" in ScanningSequence and not "SK" in SequenceVariant)'),
    "mr-image/InversionTime": Condition('"IR" in ScanningSequence', otherwise=False),
    "mr-image/TriggerTime": Condition('"CG" in ScanOptions or "PPG" in ScanOptions', otherwise=False),
    "NumberOfRRIntervals": Condition(_GATED, otherwise=False),
    "pet-series/NumberOfTimeSlots": Condition(_GATED, otherwise=False),
    "pet-series/NumberOfTimeSlices": Condition('SeriesType[1] == "DYNAMIC"', otherwise=False),
    "pet-image/TriggerTime": Condition(_GATED, otherwise=False),
    "pet-image/FrameTime": Condition(_GATED, otherwise=False),
    "pet-image/LowRRValue": Condition(f'{_GATED} and BeatRejectionFlag == "Y"'),
    "pet-image/HighRRValue": Condition(f'{_GATED} and BeatRejectionFlag == "Y"'),
    "DecayFactor": Condition('DecayCorrection in ("START", "ADMIN")'),
    "ReprojectionMethod": Condition('SeriesType[2] == "REPROJECTION"'),
    # Multi-frame Functional Groups (PS3.3 C.7.6.16) and enhanced images
    "SOPInstanceUIDOfConcatenationSource": Condition("present(ConcatenationUID)"),
    "ConcatenationUID": Condition("present(InConcatenationNumber)"),
    "InConcatenationNumber": Condition("present(ConcatenationUID)"),
    "ConcatenationFrameOffsetNumber": Condition("present(ConcatenationUID)"),
    "DimensionIndexValues": Condition(
        "present(root.DimensionIndexSequence)", otherwise=False, clause="PS3.3 C.7.6.16.2.2"
    ),
    "DimensionIndexSequence": Condition(_NOT_TILED_FULL, clause="PS3.3 C.7.6.17"),
    "PerFrameFunctionalGroupsSequence": Condition(_NOT_TILED_FULL, clause="PS3.3 C.7.6.16"),
    "InStackPositionNumber": Condition("present(StackID)", clause="PS3.3 C.7.6.16.2.2"),
    "StackID": Condition("present(InStackPositionNumber)", clause="PS3.3 C.7.6.16.2.2"),
    "PlanePositionSequence/ImagePositionPatient": Condition(_OF_ORIGINAL, clause="PS3.3 C.7.6.16.2.3"),
    "PlaneOrientationSequence/ImageOrientationPatient": Condition(_OF_ORIGINAL, clause="PS3.3 C.7.6.16.2.4"),
    "PixelMeasuresSequence/PixelSpacing": Condition(
        'root.VolumetricProperties in ("VOLUME", "MIXED")', clause="PS3.3 C.7.6.16.2.1"
    ),
    "PixelMeasuresSequence/SliceThickness": Condition(
        'root.VolumetricProperties in ("VOLUME", "SAMPLED")', clause="PS3.3 C.7.6.16.2.1"
    ),
    "RealWorldValueLastValueMapped": Condition("not present(DoubleFloatRealWorldValueLastValueMapped)"),
    "RealWorldValueFirstValueMapped": Condition("not present(DoubleFloatRealWorldValueFirstValueMapped)"),
    "DoubleFloatRealWorldValueLastValueMapped": Condition("not present(RealWorldValueLastValueMapped)"),
    "DoubleFloatRealWorldValueFirstValueMapped": Condition("not present(RealWorldValueFirstValueMapped)"),
    "RealWorldValueIntercept": Condition("not present(RealWorldValueLUTData)"),
    "RealWorldValueSlope": Condition("not present(RealWorldValueLUTData)"),
    "RealWorldValueLUTData": Condition("not present(RealWorldValueSlope)"),
    **{
        f"{module}/{name}": Condition(_ORIGINAL)
        for module in ("enhanced-ct-image", "enhanced-mr-image", "enhanced-pet-image", "mr-pulse-sequence")
        for name in (
            *("ContentQualification", "AcquisitionDateTime", "AcquisitionDuration", "ResonantNucleus"),
            *("KSpaceFiltering", "MagneticFieldStrength", "ApplicableSafetyStandardAgency"),
            *("LossyImageCompression", "BurnedInAnnotation", "ComplexImageComponent", "AcquisitionContrast"),
            *("PulseSequenceName", "EchoPulseSequence", "MultiPlanarExcitation"),
            *("PhaseContrast", "TimeOfFlightContrast", "SteadyStatePulseSequence", "SaturationRecovery"),
            *("EchoPlanarPulseSequence", "SpectrallySelectedSuppression", "OversamplingPhase"),
            *("GeometryOfKSpaceTraversal", "SegmentedKSpaceTraversal", "NumberOfKSpaceTrajectories"),
        )
    },
    "mr-pulse-sequence/MultipleSpinEcho": Condition(
        f'{_ORIGINAL} and EchoPulseSequence in ("SPIN", "BOTH")', clause="PS3.3 Table C.8-87"
    ),
    "mr-pulse-sequence/CoverageOfKSpace": Condition(
        f'{_ORIGINAL} and MRAcquisitionType == "3D"', clause="PS3.3 Table C.8-87"
    ),
    **{
        f"FrameContentSequence/{name}": Condition(
            f"{_OF_ORIGINAL} and root.SOPClassUID in {_ENHANCED}", clause="PS3.3 C.7.6.16.2.2"
        )
        for name in ("FrameReferenceDateTime", "FrameAcquisitionDateTime", "FrameAcquisitionDuration")
    },
    # Projection X-ray
    "x-ray-acquisition/ExposureTime": Condition("not present(Exposure)"),
    "x-ray-acquisition/XRayTubeCurrent": Condition("not present(Exposure)"),
    "x-ray-acquisition/Exposure": Condition("not present(ExposureTime) or not present(XRayTubeCurrent)"),
    "PositionerMotion": Condition("NumberOfFrames > 1"),
    "PositionerPrimaryAngleIncrement": Condition('PositionerMotion == "DYNAMIC"'),
    "PositionerSecondaryAngleIncrement": Condition('PositionerMotion == "DYNAMIC"'),
    "TableVerticalIncrement": Condition('TableMotion == "DYNAMIC"'),
    "TableLateralIncrement": Condition('TableMotion == "DYNAMIC"'),
    "TableLongitudinalIncrement": Condition('TableMotion == "DYNAMIC"'),
    "PixelSpacingCalibrationDescription": Condition("present(PixelSpacingCalibrationType)"),
}

ORIGINAL_FRAME: Final = Condition(_OF_ORIGINAL)
ORIGINAL_FRAME_SEQUENCES: Final = frozenset(
    {
        *("CTAcquisitionDetailsSequence", "CTGeometrySequence", "CTExposureSequence"),
        "CTXRayDetailsSequence",
    }
)
"""The attributes of these functional groups are required of original frames (PS3.3 C.8.15)."""
