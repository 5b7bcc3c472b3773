"""Conditions of RT structure sets, doses and plans."""

from collections.abc import Mapping
from typing import Final

from harvester.audits.conformance.conditions.condition import Condition

_DOSE_OF_FRACTION: Final = (
    'root.DoseSummationType in ("FRACTION", "BEAM", "BRACHY", "FRACTION_SESSION", "BEAM_SESSION", '
    '"BRACHY_SESSION", "CONTROL_POINT")'
)

RADIOTHERAPY: Final[Mapping[str, Condition]] = {
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
}
