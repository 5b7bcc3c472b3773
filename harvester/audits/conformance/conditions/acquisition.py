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
_FLOAT: Final = "(present(root.FloatPixelData) or present(root.DoubleFloatPixelData))"
# PS3.3 C.7.6.17.1: attributes of functional groups that are often dimensions.
_IN_GROUPS: Final = (
    *(
        "00209056",
        "00209057",
        "00209128",
        "00200032",
        "0062000B",
        "0048021E",
        "0048021F",
        "0040072A",
        "0040073A",
    ),
    *("0040074A", "00480106", "00189087", "00189089", "00189082", "00200153", "00189074", "00189151"),
)

ACQUISITION: Final[Mapping[str, Condition]] = {
    # CT, MR, PET
    "mr-image/RepetitionTime": Condition('not ("EP" in ScanningSequence and not "SK" in SequenceVariant)'),
    "mr-image/TriggerTime": Condition('"CG" in ScanOptions or "PPG" in ScanOptions', otherwise=False),
    "pet-image/DecayFactor": Condition('DecayCorrection in ("START", "ADMIN")'),
    # Multi-frame Functional Groups (PS3.3 C.7.6.16) and enhanced images
    "SOPInstanceUIDOfConcatenationSource": Condition("present(ConcatenationUID)"),
    "ConcatenationUID": Condition("present(InConcatenationNumber)", otherwise=True),
    "InConcatenationNumber": Condition("present(ConcatenationUID)"),
    "ConcatenationFrameOffsetNumber": Condition("present(ConcatenationUID)"),
    "DimensionIndexValues": Condition(
        "present(root.DimensionIndexSequence)", otherwise=False, clause="PS3.3 C.7.6.16.2.2"
    ),
    "DimensionIndexSequence": Condition(_NOT_TILED_FULL, clause="PS3.3 C.7.6.17"),
    "DimensionIndexSequence/FunctionalGroupPointer": Condition(
        f"DimensionIndexPointer in {_IN_GROUPS}", otherwise=True, clause="PS3.3 C.7.6.17"
    ),
    "PerFrameFunctionalGroupsSequence": Condition(_NOT_TILED_FULL, otherwise=True, clause="PS3.3 C.7.6.16"),
    "InStackPositionNumber": Condition("present(StackID)", otherwise=True, clause="PS3.3 C.7.6.16.2.2"),
    "StackID": Condition("present(InStackPositionNumber)", otherwise=True, clause="PS3.3 C.7.6.16.2.2"),
    "PlanePositionSequence/ImagePositionPatient": Condition(_OF_ORIGINAL, clause="PS3.3 C.7.6.16.2.3"),
    "PlaneOrientationSequence/ImageOrientationPatient": Condition(_OF_ORIGINAL, clause="PS3.3 C.7.6.16.2.4"),
    "PixelMeasuresSequence/PixelSpacing": Condition(
        'root.VolumetricProperties in ("VOLUME", "MIXED")', clause="PS3.3 C.7.6.16.2.1"
    ),
    "PixelMeasuresSequence/SliceThickness": Condition(
        'root.VolumetricProperties in ("VOLUME", "SAMPLED")', clause="PS3.3 C.7.6.16.2.1"
    ),
    "RealWorldValueMappingSequence/RealWorldValueLastValueMapped": Condition(
        "not present(DoubleFloatRealWorldValueLastValueMapped)", otherwise=True
    ),
    "RealWorldValueMappingSequence/RealWorldValueFirstValueMapped": Condition(
        "not present(DoubleFloatRealWorldValueFirstValueMapped)", otherwise=True
    ),
    "RealWorldValueMappingSequence/DoubleFloatRealWorldValueLastValueMapped": Condition(
        f"{_FLOAT} and not present(RealWorldValueLastValueMapped)", otherwise=True
    ),
    "RealWorldValueMappingSequence/DoubleFloatRealWorldValueFirstValueMapped": Condition(
        f"{_FLOAT} and not present(RealWorldValueFirstValueMapped)", otherwise=True
    ),
    "RealWorldValueMappingSequence/RealWorldValueIntercept": Condition(
        "not present(RealWorldValueLUTData)", otherwise=True
    ),
    "RealWorldValueMappingSequence/RealWorldValueSlope": Condition(
        "not present(RealWorldValueLUTData)", otherwise=True
    ),
    "RealWorldValueMappingSequence/RealWorldValueLUTData": Condition(
        "not present(RealWorldValueSlope)", otherwise=True
    ),
    **{
        f"enhanced-{kind}-image/{name}": Condition(_ORIGINAL)
        for kind in ("ct", "mr", "pet")
        for name in (
            *("ContentQualification", "AcquisitionDateTime", "AcquisitionDuration", "ResonantNucleus"),
            *("KSpaceFiltering", "MagneticFieldStrength", "ApplicableSafetyStandardAgency"),
            *("LossyImageCompression", "BurnedInAnnotation", "ComplexImageComponent", "AcquisitionContrast"),
        )
    },
    **{
        f"FrameContentSequence/{name}": Condition(
            f"{_OF_ORIGINAL} and root.SOPClassUID in {_ENHANCED}", clause="PS3.3 C.7.6.16.2.2"
        )
        for name in ("FrameReferenceDateTime", "FrameAcquisitionDateTime", "FrameAcquisitionDuration")
    },
    # What these name is in functional groups, not at the top level.
    **{
        f"{module}/{name}ImageEvidenceSequence": Condition("False", otherwise=True)
        for module in ("enhanced-ct-image", "enhanced-mr-image", "enhanced-pet-image", "mr-spectroscopy")
        for name in ("Referenced", "Source")
    },
    # Ultrasound regions (PS3.3 C.8.5.5)
    "PixelComponentOrganization": Condition(
        "present(PixelComponentPhysicalUnits) or present(PixelComponentDataType)", otherwise=True
    ),
    "PixelComponentMask": Condition("PixelComponentOrganization == 0"),
    "PixelComponentRangeStart": Condition("PixelComponentOrganization == 1"),
    "PixelComponentRangeStop": Condition("PixelComponentOrganization == 1"),
    "PixelComponentPhysicalUnits": Condition("present(PixelComponentOrganization)", otherwise=True),
    "PixelComponentDataType": Condition("present(PixelComponentOrganization)", otherwise=True),
    "NumberOfTableBreakPoints": Condition("PixelComponentOrganization in (0, 1)"),
    "TableOfXBreakPoints": Condition("PixelComponentOrganization in (0, 1)"),
    "TableOfYBreakPoints": Condition("PixelComponentOrganization in (0, 1)"),
    "TableOfPixelValues": Condition("PixelComponentOrganization == 2"),
    # Projection X-ray
    "x-ray-acquisition/Exposure": Condition("not present(ExposureTime) or not present(XRayTubeCurrent)"),
    "PositionerMotion": Condition("NumberOfFrames > 1"),
    "TableVerticalIncrement": Condition('TableMotion == "DYNAMIC"'),
    "TableLateralIncrement": Condition('TableMotion == "DYNAMIC"'),
    "TableLongitudinalIncrement": Condition('TableMotion == "DYNAMIC"'),
}

ORIGINAL_FRAME: Final = Condition(_OF_ORIGINAL, otherwise=True)
ORIGINAL_FRAME_SEQUENCES: Final = frozenset(
    {
        *("CTAcquisitionDetailsSequence", "CTGeometrySequence", "CTExposureSequence"),
        "CTXRayDetailsSequence",
    }
)
"""The attributes of these functional groups are required of original frames (PS3.3 C.8.15)."""
