"""Conditions of RT structure sets, doses and plans."""

from collections.abc import Mapping
from typing import Final

from harvester.audits.conformance.conditions.condition import Condition

_DOUBLE_SIDED: Final = 'CompensatorMountingPosition == "DOUBLE_SIDED"'

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
    "BlockThickness": Condition("present(MaterialID)", otherwise=True),
    "BlockTransmission": Condition("not present(MaterialID)", otherwise=True),
    "SourceToCompensatorDistance": Condition(
        f"present(MaterialID) and {_DOUBLE_SIDED}", forbidden=f"not {_DOUBLE_SIDED}"
    ),
    "IsocenterToCompensatorDistances": Condition(
        f"present(MaterialID) and {_DOUBLE_SIDED}", forbidden=f"not {_DOUBLE_SIDED}"
    ),
    "SourceStrength": Condition('SourceStrengthUnits == "DOSE_RATE_WATER"', otherwise=True),
    "TransferTubeLength": Condition("present(TransferTubeNumber)"),
    "rt-dose/ReferencedSpatialRegistrationSequence": Condition(
        'SpatialTransformOfDose in ("RIGID", "NON_RIGID")', otherwise=False
    ),
    "ROIElementalCompositionSequence": Condition('ROIPhysicalProperty == "ELEM_FRACTION"'),
    **{
        f"DefinitionSourceSequence/{name}": Condition(
            f'ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.{uid}"', otherwise=False
        )
        for name, uid in (
            ("ReferencedFiducialUID", "66.2"),
            ("ReferencedROINumber", "481.3"),
            ("ReferencedSegmentNumber", "66.4"),
        )
    },
    **{
        f"ROI{role}Sequence/{name}": Condition(f'ObserverType == "{kind}"', otherwise=False)
        for role in ("Creator", "Interpreter")
        for kind, names in (
            ("DEV", ("DeviceUID", "Manufacturer", "ManufacturerModelName", "StationName")),
            ("PSN", ("PersonName", "PersonIdentificationCodeSequence")),
        )
        for name in names
    },
}
