"""Conditions of codes, patients, series, general images, pixels and lookup tables."""

from collections.abc import Mapping
from typing import Final

from harvester.audits.conformance.conditions.condition import Condition

_CODE: Final = "PS3.3 Table 8.8-1"
_PALETTE: Final = 'PhotometricInterpretation == "PALETTE COLOR"'
_PAIRED: Final = (
    '("ANKLE", "ARM", "BREAST", "CLAVICLE", "EAR", "ELBOW", "EYE", "FEMUR", "FOOT", "HAND", "HIP", '
    '"HUMERUS", "KIDNEY", "KNEE", "LEG", "SHOULDER", "THIGH", "WRIST")'
)
_MR_OR_CT: Final = (
    '("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.4", '
    '"1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.2", "1.2.840.10008.5.1.4.1.1.4.3")'
)

GENERAL: Final[Mapping[str, Condition]] = {
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
        '"1.2.840.10008.5.1.4.1.1.12.1", "1.2.840.10008.5.1.4.1.1.6.1", "1.2.840.10008.5.1.4.1.1.3.1")'
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
}
