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
_LEGACY: Final = (
    '("1.2.840.10008.5.1.4.1.1.2.2", "1.2.840.10008.5.1.4.1.1.4.4", "1.2.840.10008.5.1.4.1.1.128.1")'
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

_PIXEL_COMPONENT: Final = (
    *("PixelComponentPhysicalUnits", "PixelComponentDataType", "PixelComponentMask"),
    *("PixelComponentRangeStart", "PixelComponentRangeStop", "NumberOfTableBreakPoints"),
    *("TableOfXBreakPoints", "TableOfYBreakPoints", "NumberOfTableEntries", "TableOfPixelValues"),
    *("TableOfParameterValues", "PixelValueMappingCodeSequence"),
)

_CARDIAC_AXES: Final = (
    *('"103340004"', '"131185001"', '"131186000"'),
    *('"G-A186"', '"G-A18A"', '"G-A18B"'),
)
_SPECIMEN: Final = ('"119376003"', '"127457009"', '"G-8300"', '"G-8310"')

ACQUISITION: Final[Mapping[str, Condition]] = {
    # CT, MR, PET
    "mr-image/RepetitionTime": Condition('not ("EP" in ScanningSequence and not "SK" in SequenceVariant)'),
    "mr-image/TriggerTime": Condition('"CG" in ScanOptions or "PPG" in ScanOptions', otherwise=False),
    "pet-image/DecayFactor": Condition('DecayCorrection in ("START", "ADMIN")'),
    # Multi-frame Functional Groups (PS3.3 C.7.6.16) and enhanced images
    "SOPInstanceUIDOfConcatenationSource": Condition("present(ConcatenationUID)"),
    "ConcatenationUID": Condition(
        "present(InConcatenationNumber) or present(ConcatenationFrameOffsetNumber)"
        " or present(SOPInstanceUIDOfConcatenationSource)",
        otherwise=True,
    ),
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
    **{
        f"RealWorldValueMappingSequence/RealWorldValue{end}ValueMapped": Condition(
            f"not present(DoubleFloatRealWorldValue{end}ValueMapped)",
            forbidden=f"present(DoubleFloatRealWorldValue{end}ValueMapped)"
            " and not present(root.PixelData) and not present(RealWorldValueLUTData)",
        )
        for end in ("First", "Last")
    },
    **{
        f"RealWorldValueMappingSequence/DoubleFloatRealWorldValue{end}ValueMapped": Condition(
            f"{_FLOAT} and not present(RealWorldValue{end}ValueMapped)",
            forbidden=f"present(RealWorldValue{end}ValueMapped)",
        )
        for end in ("First", "Last")
    },
    **{
        f"RealWorldValueMappingSequence/RealWorldValue{name}": Condition(
            "not present(RealWorldValueLUTData)", forbidden=f"present(RealWorldValueLUTData) and not {_FLOAT}"
        )
        for name in ("Intercept", "Slope")
    },
    "RealWorldValueMappingSequence/RealWorldValueLUTData": Condition(
        "not present(RealWorldValueIntercept)", otherwise=False
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
    "DerivationImageSequence/DerivationCodeSequence": Condition(
        f"root.SOPClassUID not in {_LEGACY}", otherwise=True
    ),
    **{
        f"{name}ImageSequence/PurposeOfReferenceCodeSequence": Condition(
            f"root.SOPClassUID not in {_LEGACY}", otherwise=True
        )
        for name in ("Source", "Referenced")
    },
    "FrameContentSequence/TemporalPositionIndex": Condition(
        'root.SOPClassUID == "1.2.840.10008.5.1.4.1.1.130"', otherwise=True, clause="PS3.3 C.7.6.16.2.2"
    ),
    "MRDiffusionSequence/DiffusionAnisotropyType": Condition(
        'root.ImageType[4] == "DIFFUSION_ANISO"', otherwise=True
    ),
    "MRDiffusionSequence/DiffusionGradientDirectionSequence": Condition(
        'DiffusionDirectionality == "DIRECTIONAL"',
        forbidden='DiffusionDirectionality in ("ISOTROPIC", "NONE")',
    ),
    # A system that writes one of them can calculate both.
    "GradientOutput": Condition("present(GradientOutputType)", otherwise=True),
    "GradientOutputType": Condition("present(GradientOutput)", otherwise=True),
    "RespiratoryIntervalTime": Condition(
        'root.RespiratoryMotionCompensationTechnique not in ("NONE", "REALTIME")'
        ' and (not present(root.RespiratoryTriggerType) or root.RespiratoryTriggerType in ("TIME", "BOTH"))',
        otherwise=True,
    ),
    "MonoenergeticEnergyEquivalent": Condition('root.ImageType[4] == "VMI"', otherwise=True),
    **{
        f"{module}/SliceProgressionDirection": Condition(
            " or ".join(f"{code} in ViewCodeSequence.CodeValue" for code in _CARDIAC_AXES),
            otherwise=True,
        )
        for module in ("enhanced-pet-acquisition", "pet-multi-gated-acquisition", "nm-reconstruction")
    },
    "ct-image/EnergyWeightingFactor": Condition(
        '"113097" in DerivationCodeSequence.CodeValue', otherwise=True
    ),
    "AxialDetectorDimension": Condition('ImageType[1] == "ORIGINAL"', otherwise=True),
    "ReconstructionFieldOfView": Condition(
        f"{_OF_ORIGINAL} and not present(ReconstructionDiameter)", forbidden="present(ReconstructionDiameter)"
    ),
    "ReconstructionDiameter": Condition(
        f"{_OF_ORIGINAL} and not present(ReconstructionFieldOfView)",
        forbidden="present(ReconstructionFieldOfView)",
    ),
    **{
        f"{place}Sequence/{name}": Condition('root.Modality == "MG"', otherwise=True)
        for place in ("XRay3DAcquisition", "PerProjectionAcquisition")
        for name in (
            *("KVP", "ExposureInmAs", "ExposureTimeInms", "XRayTubeCurrentInmA"),
            *("FieldOfViewDimensionsInFloat", "PrimaryPositionerScanArc", "PrimaryPositionerScanStartAngle"),
        )
    },
    # Nuclear medicine
    "nm-image/ActualFrameDuration": Condition('ImageType[3] in ("WHOLE BODY", "STATIC")', otherwise=False),
    "ScanLength": Condition('ImageType[3] == "WHOLE BODY"', otherwise=False),
    "ScanVelocity": Condition('ImageType[3] == "WHOLE BODY"', otherwise=False),
    "DetectorInformationSequence/DistanceSourceToDetector": Condition(
        'root.ImageType[4] == "TRANSMISSION" and root.ImageType[3] not in '
        '("TOMO", "GATED TOMO", "RECON TOMO", "RECON GATED TOMO")'
    ),
    "sc-multi-frame-image/NominalScannedPixelSpacing": Condition(
        'ConversionType == "DF"', forbidden='not ConversionType in ("DF", "SD", "SI")'
    ),
    # Ultrasound
    "us-image/AcquisitionDateTime": Condition('Modality == "IVUS"', otherwise=True),
    "IVUSAcquisition": Condition('Modality == "IVUS"', otherwise=False),
    **{
        name: Condition(
            "present(StageName) or present(StageNumber) or present(StageCodeSequence)"
            f" or present(ViewName) or present(ViewNumber) or present({other})",
            otherwise=True,
        )
        for name, other in (
            ("NumberOfStages", "NumberOfViewsInStage"),
            ("NumberOfViewsInStage", "NumberOfStages"),
        )
    },
    "PixelValueMappingCodeSequence": Condition("PixelComponentOrganization == 3"),
    # Ultrasound regions (PS3.3 C.8.5.5)
    "PixelComponentOrganization": Condition(
        " or ".join(f"present({name})" for name in _PIXEL_COMPONENT), otherwise=True
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
    "dx-image/PatientOrientation": Condition(
        f"not ({' or '.join(f'{code} in ViewCodeSequence.CodeValue' for code in _SPECIMEN)})", otherwise=True
    ),
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
