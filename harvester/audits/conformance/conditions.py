"""The conditions of Type 1C and 2C attributes and of modules of usage C, written from PS3.3.

A condition without a clause is that of the table of its module. A condition that a header cannot decide
(whether an agent was given, whether a procedure was scheduled) has no entry and is not checked.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from harvester.audits.conformance.standard import Attribute, Iod, Requirement, Values


@dataclass(frozen=True, slots=True)
class Condition:
    """When an attribute or a module is required.

    Attributes:
        expression: As in `expressions`.
        otherwise: Whether the attribute may be present if the condition is false.
        clause: Where the standard says so; empty: the table of the module.
    """

    expression: str
    otherwise: bool = True
    clause: str = ""


CONTENT_ITEM: Final = "ContentSequence"
"""Stands for the items of a content tree, and for its root."""

_CODE: Final = "PS3.3 Table 8.8-1"
_CONTENT: Final = "PS3.3 C.17.3.2"
_ORIGINAL: Final = 'ImageType[1] in ("ORIGINAL", "MIXED")'
_OF_ORIGINAL: Final = 'root.ImageType[1] == "ORIGINAL"'
_PALETTE: Final = 'PhotometricInterpretation == "PALETTE COLOR"'
_NOT_TILED_FULL: Final = 'not DimensionOrganizationType == "TILED_FULL"'
_PAIRED: Final = (
    '("ANKLE", "ARM", "BREAST", "CLAVICLE", "EAR", "ELBOW", "EYE", "FEMUR", "FOOT", "HAND", "HIP", '
    '"HUMERUS", "KIDNEY", "KNEE", "LEG", "SHOULDER", "THIGH", "WRIST")'
)
_GATED: Final = 'SeriesType[1] == "GATED"'
_DOSE_OF_FRACTION: Final = (
    'root.DoseSummationType in ("FRACTION", "BEAM", "BRACHY", "FRACTION_SESSION", "BEAM_SESSION", '
    '"BRACHY_SESSION", "CONTROL_POINT")'
)
_MR_OR_CT: Final = (
    '("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.4", '
    '"1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.2", "1.2.840.10008.5.1.4.1.1.4.3")'
)

# By keyword, or by `where/keyword`: a module, or the sequence that holds the attribute.
_CONDITIONS: Final[Mapping[str, Condition]] = {
    # Code Sequence Macro and identifiers (PS3.3 8.8, 10.14)
    "CodeValue": Condition("not present(LongCodeValue) and not present(URNCodeValue)", clause=_CODE),
    "LongCodeValue": Condition("False", clause=_CODE),
    "URNCodeValue": Condition("False", clause=_CODE),
    "CodingSchemeDesignator": Condition("present(CodeValue) or present(LongCodeValue)", clause=_CODE),
    "MappingResource": Condition("present(ContextIdentifier)", clause=_CODE),
    "ContextGroupVersion": Condition("present(ContextIdentifier)", clause=_CODE),
    "ContextGroupLocalVersion": Condition('ContextGroupExtensionFlag == "Y"', otherwise=False, clause=_CODE),
    "ContextGroupExtensionCreatorUID": Condition(
        'ContextGroupExtensionFlag == "Y"', otherwise=False, clause=_CODE
    ),
    "LocalNamespaceEntityID": Condition("not present(UniversalEntityID)", clause="PS3.3 Table 10-17"),
    "UniversalEntityID": Condition("not present(LocalNamespaceEntityID)", clause="PS3.3 Table 10-17"),
    "UniversalEntityIDType": Condition("present(UniversalEntityID)", clause="PS3.3 Table 10-17"),
    # Patient, General Series, General Image
    "DeidentificationMethod": Condition(
        'PatientIdentityRemoved == "YES" and not present(DeidentificationMethodCodeSequence)'
    ),
    "DeidentificationMethodCodeSequence": Condition(
        'PatientIdentityRemoved == "YES" and not present(DeidentificationMethod)'
    ),
    "ResponsiblePersonRole": Condition("present(ResponsiblePerson)", otherwise=False),
    "PatientAlternativeCalendar": Condition(
        "present(PatientBirthDateInAlternativeCalendar) or present(PatientDeathDateInAlternativeCalendar)",
        otherwise=False,
    ),
    "general-series/PatientPosition": Condition(
        f"SOPClassUID in {_MR_OR_CT} and not present(PatientOrientationCodeSequence)"
    ),
    "general-series/Laterality": Condition(
        f"BodyPartExamined in {_PAIRED} and not present(ImageLaterality)", clause="PS3.3 C.7.3.1"
    ),
    "general-image/PatientOrientation": Condition(
        'SOPClassUID in ("1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.7", '
        '"1.2.840.10008.5.1.4.1.1.12.1")'
    ),
    "ClinicalTrialSubjectID": Condition("not present(ClinicalTrialSubjectReadingID)"),
    "ClinicalTrialSubjectReadingID": Condition("not present(ClinicalTrialSubjectID)"),
    "ClinicalTrialProtocolEthicsCommitteeName": Condition(
        "present(ClinicalTrialProtocolEthicsCommitteeApprovalNumber)"
    ),
    "LongitudinalTemporalEventType": Condition("present(LongitudinalTemporalOffsetFromEvent)"),
    # Image Pixel (PS3.3 C.7.6.3)
    "PlanarConfiguration": Condition("SamplesPerPixel > 1", otherwise=False, clause="PS3.3 C.7.6.3.1.3"),
    **{
        f"{colour}PaletteColorLookupTableDescriptor": Condition(_PALETTE, clause="PS3.3 C.7.6.3.1.5")
        for colour in ("Red", "Green", "Blue")
    },
    **{
        f"{colour}PaletteColorLookupTableData": Condition(
            f"{_PALETTE} and not present(Segmented{colour}PaletteColorLookupTableData)",
            clause="PS3.3 C.7.6.3.1.6",
        )
        for colour in ("Red", "Green", "Blue")
    },
    "image-pixel/PixelData": Condition("not present(PixelDataProviderURL)", otherwise=False),
    "LossyImageCompressionRatio": Condition('LossyImageCompression == "01"', clause="PS3.3 C.7.6.1.1.5"),
    "LossyImageCompressionMethod": Condition('LossyImageCompression == "01"', clause="PS3.3 C.7.6.1.1.5"),
    # LUTs, shutters, cine
    "WindowCenter": Condition("not present(VOILUTSequence)", clause="PS3.3 C.11.2"),
    "VOILUTSequence": Condition("not present(WindowCenter)", clause="PS3.3 C.11.2"),
    "WindowWidth": Condition("present(WindowCenter)", clause="PS3.3 C.11.2"),
    "ModalityLUTSequence": Condition("not present(RescaleIntercept)", otherwise=False),
    "modality-lut/RescaleIntercept": Condition("not present(ModalityLUTSequence)", otherwise=False),
    "modality-lut/RescaleSlope": Condition("present(RescaleIntercept)", otherwise=False),
    "modality-lut/RescaleType": Condition("present(RescaleIntercept)", otherwise=False),
    "ct-image/RescaleType": Condition('MultienergyCTAcquisition == "YES"'),
    "PresentationLUTSequence": Condition("not present(PresentationLUTShape)", otherwise=False),
    "softcopy-presentation-lut/PresentationLUTShape": Condition("not present(PresentationLUTSequence)"),
    "PresentationLUTShape": Condition('PhotometricInterpretation == "MONOCHROME2"'),
    **{
        f"Shutter{edge}": Condition('"RECTANGULAR" in ShutterShape', clause="PS3.3 C.7.6.11")
        for edge in ("LeftVerticalEdge", "RightVerticalEdge", "UpperHorizontalEdge", "LowerHorizontalEdge")
    },
    "CenterOfCircularShutter": Condition('"CIRCULAR" in ShutterShape'),
    "RadiusOfCircularShutter": Condition('"CIRCULAR" in ShutterShape'),
    "VerticesOfThePolygonalShutter": Condition('"POLYGONAL" in ShutterShape'),
    **{
        f"Collimator{edge}": Condition('"RECTANGULAR" in CollimatorShape', clause="PS3.3 C.8.7.3")
        for edge in ("LeftVerticalEdge", "RightVerticalEdge", "UpperHorizontalEdge", "LowerHorizontalEdge")
    },
    "CenterOfCircularCollimator": Condition('"CIRCULAR" in CollimatorShape'),
    "RadiusOfCircularCollimator": Condition('"CIRCULAR" in CollimatorShape'),
    "VerticesOfThePolygonalCollimator": Condition('"POLYGONAL" in CollimatorShape'),
    "cine/FrameTime": Condition('"00181063" in FrameIncrementPointer'),
    "cine/FrameTimeVector": Condition('"00181065" in FrameIncrementPointer'),
    "FrameIncrementPointer": Condition("NumberOfFrames > 1"),
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
            *("PulseSequenceName", "EchoPulseSequence", "MultipleSpinEcho", "MultiPlanarExcitation"),
            *("PhaseContrast", "TimeOfFlightContrast", "SteadyStatePulseSequence", "SaturationRecovery"),
            *("EchoPlanarPulseSequence", "SpectrallySelectedSuppression", "OversamplingPhase"),
            *("GeometryOfKSpaceTraversal", "SegmentedKSpaceTraversal", "NumberOfKSpaceTrajectories"),
        )
    },
    # Whole slide images, segmentations, annotations
    "ImagedVolumeWidth": Condition('ImageType[3] in ("VOLUME", "THUMBNAIL")'),
    "ImagedVolumeHeight": Condition('ImageType[3] in ("VOLUME", "THUMBNAIL")'),
    "ImagedVolumeDepth": Condition('ImageType[3] in ("VOLUME", "THUMBNAIL")'),
    "NumberOfOpticalPaths": Condition('DimensionOrganizationType == "TILED_FULL"'),
    "TotalPixelMatrixFocalPlanes": Condition('DimensionOrganizationType == "TILED_FULL"'),
    "NumberOfFocalPlanes": Condition('ExtendedDepthOfField == "YES"', otherwise=False),
    "DistanceBetweenFocalPlanes": Condition('ExtendedDepthOfField == "YES"', otherwise=False),
    "IlluminationColorCodeSequence": Condition("not present(IlluminationWaveLength)"),
    "IlluminationWaveLength": Condition("not present(IlluminationColorCodeSequence)"),
    "MaximumFractionalValue": Condition('SegmentationType == "FRACTIONAL"', otherwise=False),
    "SegmentationFractionalType": Condition('SegmentationType == "FRACTIONAL"', otherwise=False),
    "TrackingID": Condition("present(TrackingUID)"),
    "TrackingUID": Condition("present(TrackingID)"),
    "SegmentAlgorithmName": Condition('SegmentAlgorithmType in ("AUTOMATIC", "SEMIAUTOMATIC")'),
    "AnnotationGroupAlgorithmIdentificationSequence": Condition(
        'AnnotationGroupGenerationType in ("AUTOMATIC", "SEMIAUTOMATIC")'
    ),
    # Radiotherapy
    **{
        f"rt-dose/{name}": Condition("present(PixelData)", otherwise=False)
        for name in (
            *("SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit"),
            *("PixelRepresentation", "DoseGridScaling"),
        )
    },
    "GridFrameOffsetVector": Condition("present(PixelData) and NumberOfFrames > 1"),
    "rt-dose/ReferencedRTPlanSequence": Condition(
        'DoseSummationType in ("PLAN", "MULTI_PLAN", "FRACTION", "BEAM", "BRACHY", "FRACTION_SESSION", '
        '"BEAM_SESSION", "BRACHY_SESSION", "CONTROL_POINT")'
    ),
    "ReferencedRTPlanSequence/ReferencedFractionGroupSequence": Condition(_DOSE_OF_FRACTION),
    "ReferencedFractionGroupSequence/ReferencedBeamSequence": Condition(
        'root.DoseSummationType in ("BEAM", "BEAM_SESSION", "CONTROL_POINT")'
    ),
    "PlanOverviewSequence": Condition('DoseSummationType == "PLAN_OVERVIEW"'),
    "rt-general-plan/ReferencedStructureSetSequence": Condition('RTPlanGeometry == "PATIENT"'),
    "FractionGroupSequence/ReferencedBeamSequence": Condition("NumberOfBeams > 0"),
    "FractionGroupSequence/ReferencedBrachyApplicationSetupSequence": Condition(
        "NumberOfBrachyApplicationSetups > 0"
    ),
    "DoseReferenceSequence/ReferencedROINumber": Condition(
        'DoseReferenceStructureType in ("POINT", "VOLUME")'
    ),
    "DoseReferencePointCoordinates": Condition('DoseReferenceStructureType == "COORDINATES"'),
    "BeamSequence/WedgeSequence": Condition("NumberOfWedges > 0"),
    "BeamSequence/CompensatorSequence": Condition("NumberOfCompensators > 0"),
    "BeamSequence/BlockSequence": Condition("NumberOfBlocks > 0"),
    "BeamSequence/ReferencedBolusSequence": Condition("NumberOfBoli > 0"),
    "BeamLimitingDeviceSequence/LeafPositionBoundaries": Condition(
        'RTBeamLimitingDeviceType in ("MLCX", "MLCY")'
    ),
    "PatientSetupSequence/PatientPosition": Condition("not present(PatientAdditionalPosition)"),
    "PatientSetupSequence/PatientAdditionalPosition": Condition("not present(PatientPosition)"),
    **{
        f"approval/{name}": Condition('ApprovalStatus in ("APPROVED", "REJECTED")')
        for name in ("ReviewDate", "ReviewTime", "ReviewerName")
    },
    # Structured reports and content items (PS3.3 C.17.3, 10.2)
    "ConceptNameCodeSequence": Condition(
        'ValueType in ("TEXT", "NUM", "CODE", "DATETIME", "DATE", "TIME", "UIDREF", "PNAME")', clause=_CONTENT
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
    "VerifyingObserverSequence": Condition('VerificationFlag == "VERIFIED"', otherwise=False),
    **{
        f"{sequence}/{name}": Condition(f'{kind} == "{code}"', clause="PS3.3 Table 10-1")
        for sequence, kind in (
            ("AuthorObserverSequence", "ObserverType"),
            ("ParticipantSequence", "ObserverType"),
        )
        for code, names in (
            ("PSN", ("PersonName", "PersonIdentificationCodeSequence")),
            ("DEV", ("DeviceUID", "Manufacturer", "ManufacturerModelName", "StationName")),
        )
        for name in names
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
    # Presentation states
    "PresentationPixelSpacing": Condition('PresentationSizeMode == "TRUE SIZE"'),
    "PresentationPixelMagnificationRatio": Condition('PresentationSizeMode == "MAGNIFY"'),
    "PresentationPixelAspectRatio": Condition("not present(PresentationPixelSpacing)"),
    "HL7InstanceIdentifier": Condition('MIMETypeOfEncapsulatedDocument == "text/XML"'),
}

# Attributes of these sequences of functional groups are required of original frames (PS3.3 C.8.13, C.8.15).
_ORIGINAL_FRAMES: Final = frozenset(
    {
        *(
            "CTAcquisitionDetailsSequence",
            "CTGeometrySequence",
            "CTExposureSequence",
            "CTXRayDetailsSequence",
        ),
    }
)

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
    "segmentation/SegmentIdentificationSequence": Condition(
        f'{_NOT_TILED_FULL} and SegmentationType in ("BINARY", "FRACTIONAL")'
    ),
    "segmentation/FrameContentSequence": Condition('not DimensionOrganizationType == "TILED_FULL"'),
    "segmentation/PixelMeasuresSequence": Condition("present(FrameOfReferenceUID)"),
    "segmentation/PlanePositionSequence": Condition(
        "present(FrameOfReferenceUID) and not present(TotalPixelMatrixColumns)"
    ),
    "segmentation/PlaneOrientationSequence": Condition(
        "present(FrameOfReferenceUID) and not present(TotalPixelMatrixColumns)"
    ),
}

# Values that later editions, or sections besides the tables, list; by keyword or `IOD/keyword`.
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
    "segmentation/SegmentationType": Values(enumerated=True, texts=("BINARY", "FRACTIONAL", "LABELMAP")),
    "PixelRepresentation": Values(enumerated=True, texts=("0", "1")),
    "PlanarConfiguration": Values(enumerated=True, texts=("0", "1")),
    "LossyImageCompression": Values(enumerated=True, texts=("00", "01")),
    "ImageLaterality": Values(enumerated=True, texts=("R", "L", "U", "B")),
}


@lru_cache(maxsize=4096)
def condition_of(keyword: str, parent: str, module: str) -> Condition | None:
    """The condition of an attribute in a sequence, or at the top level of a module; None: not written."""
    for name in (f"{parent or module}/{keyword}", keyword):
        if name in _CONDITIONS:
            return _CONDITIONS[name]
    return Condition(_OF_ORIGINAL) if parent in _ORIGINAL_FRAMES else None


def inclusion(keyword: str, parent: str, module: str) -> Condition | None:
    """The condition of a macro that the module includes only for some content items."""
    return _CONDITIONS.get(f"{CONTENT_ITEM}/{keyword}") if _is_content_item(parent, module) else None


def _is_content_item(parent: str, module: str) -> bool:
    return parent == CONTENT_ITEM or (not parent and module == "sr-document-content")


def listed_values(attribute: Attribute, iod: Iod, parent: str) -> list[tuple[Values, Requirement]]:
    """The lists of values of an attribute: those written here, else those of the tables of the modules."""
    if parent == "PixelValueTransformationSequence":  # PS3.3 C.7.6.16.2.9.1: the values depend on the IOD
        return []
    written = None if parent else _VALUES.get(f"{iod.name}/{attribute.keyword}")
    written = written or _VALUES.get(attribute.keyword)
    if written is not None:
        return [(written, attribute.requirements[0])]
    return attribute.values


def expressions() -> Iterator[tuple[str, Condition]]:
    """All conditions by name, for tests and for the page about them."""
    yield from _CONDITIONS.items()
    yield from MODULE_CONDITIONS.items()
