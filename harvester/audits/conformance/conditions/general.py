"""Conditions of codes, patients, series, general images, pixels and lookup tables."""

from collections.abc import Mapping
from typing import Final

from harvester.audits.conformance.conditions.condition import Condition

_CODE: Final = "PS3.3 Table 8.8-1"
_PALETTE: Final = (
    '(PhotometricInterpretation == "PALETTE COLOR" or root.PixelPresentation in ("COLOR", "MIXED"))'
)
_ANIMAL: Final = (
    "(present(PatientSpeciesDescription) or present(PatientSpeciesCodeSequence)"
    " or present(PatientBreedDescription) or present(PatientBreedCodeSequence))"
)
_PAIRED: Final = (
    '("ANKLE", "ARM", "BREAST", "CLAVICLE", "EAR", "ELBOW", "EYE", "FEMUR", "FOOT", "HAND", "HIP", '
    '"HUMERUS", "KIDNEY", "KNEE", "LEG", "SHOULDER", "THIGH", "WRIST")'
)
_MR_OR_CT: Final = (
    '("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.4", '
    '"1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.2", "1.2.840.10008.5.1.4.1.1.4.3")'
)
_NOT_ORIENTED: Final = tuple(
    f"1.2.840.10008.5.1.4.1.1.{uid}"
    for uid in (
        *("1", "7", "12.1", "12.2", "6.1", "3.1", "77.1.1", "77.1.1.1", "77.1.2", "77.1.2.1", "77.1.4"),
        "77.1.4.1",
    )
)
_REFERS: Final = " or ".join(
    f"present({place}{name})"
    for place in ("", "SharedFunctionalGroupsSequence.", "PerFrameFunctionalGroupsSequence.")
    for name in ("SourceImageSequence", "ReferencedImageSequence", "DerivationImageSequence")
    if place or name != "DerivationImageSequence"
)

GENERAL: Final[Mapping[str, Condition]] = {
    # Code Sequence Macro and identifiers (PS3.3 8.8, 10.14)
    # A code without a value, or with two, is reported once.
    "CodeValue": Condition(
        "not present(LongCodeValue) and not present(URNCodeValue)", otherwise=True, clause=_CODE
    ),
    "LongCodeValue": Condition(
        "False", forbidden="present(CodeValue) or present(URNCodeValue)", clause=_CODE
    ),
    "URNCodeValue": Condition(
        "False", forbidden="present(CodeValue) or present(LongCodeValue)", clause=_CODE
    ),
    "CodingSchemeVersion": Condition("", forbidden="not present(CodingSchemeDesignator)", clause=_CODE),
    "InstitutionCodeSequence": Condition("not present(InstitutionName)"),
    **{
        f"ReferencedPatientPhotoSequence/{name}": Condition('TypeOfInstances == "DICOM"')
        for name in ("StudyInstanceUID", "SeriesInstanceUID")
    },
    "ReferencedPatientPhotoSequence/DICOMMediaRetrievalSequence": Condition(
        "not present(DICOMRetrievalSequence) and not present(WADORetrievalSequence)"
        " and not present(WADORSRetrievalSequence) and not present(XDSRetrievalSequence)",
        otherwise=True,
    ),
    "MappingResource": Condition("present(ContextIdentifier)", clause=_CODE),
    "UniversalEntityIDType": Condition("present(UniversalEntityID)", clause="PS3.3 Table 10-17"),
    # Patient, General Series, General Image
    "ResponsiblePersonRole": Condition("present(ResponsiblePerson)", otherwise=False),
    "PatientAlternativeCalendar": Condition(
        "present(PatientBirthDateInAlternativeCalendar) or present(PatientDeathDateInAlternativeCalendar)",
        otherwise=False,
    ),
    "general-series/PatientPosition": Condition(
        f"SOPClassUID in {_MR_OR_CT} and not present(PatientOrientationCodeSequence)"
    ),
    "general-series/Laterality": Condition(
        f"BodyPartExamined in {_PAIRED} and not present(ImageLaterality)",
        otherwise=True,
        clause="PS3.3 C.7.3.1",
    ),
    # Of images that do not require Image Orientation (Patient)
    "general-image/PatientOrientation": Condition(
        f'SOPClassUID in {_NOT_ORIENTED} or ("SEG" == Modality and not present(FrameOfReferenceUID))'
    ),
    **{
        name: Condition(f"{_ANIMAL}{unless}", otherwise=True)
        for name, unless in {
            "PatientSpeciesDescription": " and not present(PatientSpeciesCodeSequence)",
            "PatientSpeciesCodeSequence": " and not present(PatientSpeciesDescription)",
            "PatientBreedDescription": " and not present(PatientBreedCodeSequence)",
            "PatientBreedCodeSequence": "",
            "BreedRegistrationSequence": "",
            "ResponsiblePerson": "",
            "ResponsibleOrganization": "",
            "PatientSexNeutered": "",
        }.items()
    },
    # Image Pixel (PS3.3 C.7.6.3)
    "PlanarConfiguration": Condition("SamplesPerPixel > 1", otherwise=False, clause="PS3.3 C.7.6.3.1.3"),
    **{
        f"{place}{colour}PaletteColorLookupTable{name}": Condition(
            _PALETTE + unless.format(colour),
            forbidden=f"not {_PALETTE}",
            clause=f"PS3.3 C.7.6.3.1.{section}",
        )
        for colour in ("Red", "Green", "Blue")
        for name, section, unless in (
            ("Descriptor", 5, ""),
            ("Data", 6, " and not present(Segmented{}PaletteColorLookupTableData)"),
        )
        for place in ("image-pixel/", "IconImageSequence/")
    },
    **{
        f"palette-color-lookup-table/{colour}PaletteColorLookupTableData": Condition(
            f"not present(Segmented{colour}PaletteColorLookupTableData)", otherwise=True, clause="PS3.3 C.7.9"
        )
        for colour in ("Red", "Green", "Blue")
    },
    "LossyImageCompressionRatio": Condition('LossyImageCompression == "01"', clause="PS3.3 C.7.6.1.1.5"),
    "LossyImageCompressionMethod": Condition('LossyImageCompression == "01"', clause="PS3.3 C.7.6.1.1.5"),
    "PixelPaddingValue": Condition(
        "present(PixelPaddingRangeLimit) and present(PixelData)",
        forbidden="not present(PixelData) and not present(PixelDataProviderURL)",
    ),
    # The JPIP Referenced transfer syntaxes
    "PixelDataProviderURL": Condition(
        'root.TransferSyntaxUID in ("1.2.840.10008.1.2.4.94", "1.2.840.10008.1.2.4.95")', otherwise=False
    ),
    # An instance that refers to others has them in its study, or elsewhere (PS3.3 C.12.2).
    **{
        f"common-instance-reference/{name}": Condition(
            f"not present({other}) and ({_REFERS})", otherwise=True, clause="PS3.3 C.12.2"
        )
        for name, other in (
            ("ReferencedSeriesSequence", "StudiesContainingOtherReferencedInstancesSequence"),
            ("StudiesContainingOtherReferencedInstancesSequence", "ReferencedSeriesSequence"),
        )
    },
    # LUTs, shutters, cine
    "WindowCenter": Condition("not present(VOILUTSequence)", clause="PS3.3 C.11.2"),
    # Without its center, a window is reported once.
    "voi-lut/VOILUTSequence": Condition(
        "not present(WindowCenter) and not present(WindowWidth)", otherwise=True, clause="PS3.3 C.11.2"
    ),
    "WindowWidth": Condition("present(WindowCenter)", clause="PS3.3 C.11.2"),
    "ModalityLUTSequence": Condition("not present(RescaleIntercept)", otherwise=False),
    "modality-lut/RescaleSlope": Condition("present(RescaleIntercept)", otherwise=False),
    "modality-lut/RescaleType": Condition("present(RescaleIntercept)", otherwise=False),
    "ct-image/RescaleType": Condition('MultienergyCTAcquisition == "YES"'),
    "PresentationLUTShape": Condition('PhotometricInterpretation == "MONOCHROME2"'),
    "cine/FrameTime": Condition('"00181063" in FrameIncrementPointer'),
    "cine/FrameTimeVector": Condition('"00181065" in FrameIncrementPointer'),
    "FrameIncrementPointer": Condition("NumberOfFrames > 1", otherwise=True),
}
