"""Conditions of RT structure sets, doses and plans."""

from collections.abc import Mapping
from typing import Final

from harvester.audits.conformance.conditions.condition import Condition

RADIOTHERAPY: Final[Mapping[str, Condition]] = {
    # Radiotherapy
    **{
        f"rt-dose/{name}": Condition("present(PixelData)", otherwise=False)
        for name in (
            *("SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit"),
            *("PixelRepresentation", "DoseGridScaling"),
        )
    },
    "GridFrameOffsetVector": Condition("present(PixelData) and NumberOfFrames > 1", otherwise=True),
    "PlanOverviewSequence": Condition('DoseSummationType == "PLAN_OVERVIEW"'),
    "BeamSequence/BeamLimitingDeviceSequence": Condition(
        "not present(EnhancedRTBeamLimitingDeviceSequence)", otherwise=True
    ),
    "BeamSequence/WedgeSequence": Condition("NumberOfWedges > 0"),
    "BeamSequence/CompensatorSequence": Condition("NumberOfCompensators > 0"),
    "BeamSequence/BlockSequence": Condition("NumberOfBlocks > 0"),
    "BeamSequence/ReferencedBolusSequence": Condition("NumberOfBoli > 0"),
}
