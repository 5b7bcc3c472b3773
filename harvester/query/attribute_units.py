"""The units of attributes, as PS3.3 defines them: the data dictionary has none."""

from typing import Final

_KEYWORDS: Final = {
    "mm": (
        "BodyPartThickness DataCollectionCenterPatient DataCollectionDiameter DistanceSourceToDetector "
        "DistanceSourceToEntrance DistanceSourceToPatient FieldOfViewDimensions FocalSpots "
        "ImagePositionPatient ImagedVolumeHeight ImagedVolumeWidth ImagerPixelSpacing "
        "NominalScannedPixelSpacing PixelSpacing ReconstructionDiameter ReconstructionTargetCenterPatient "
        "SingleCollimationWidth SliceLocation SliceThickness SpacingBetweenSlices TableFeedPerRotation "
        "TableHeight TotalCollimationWidth XOffsetInSlideCoordinateSystem YOffsetInSlideCoordinateSystem"
    ),
    "um": "ImagedVolumeDepth",
    "mm/s": "TableSpeed",
    "ms": (
        "ActualFrameDuration EchoTime EffectiveEchoTime ExposureTime ExposureTimeInms "
        "FrameAcquisitionDuration FrameReferenceTime FrameTime InversionTime InversionTimes NominalInterval "
        "RepetitionTime TriggerTime"
    ),
    "us": "ExposureTimeInuS",
    "s": "AcquisitionDuration ContrastFlowDuration RadionuclideHalfLife RevolutionTime",
    "degrees": (
        "AngularStep DetectorPrimaryAngle DetectorSecondaryAngle FlipAngle GantryDetectorTilt "
        "PositionerPrimaryAngle PositionerSecondaryAngle"
    ),
    "kV": "KVP",
    "mA": "XRayTubeCurrent XRayTubeCurrentInmA",
    "uA": "XRayTubeCurrentInuA",
    "mAs": "Exposure ExposureInmAs",
    "uAs": "ExposureInuAs",
    "kW": "GeneratorPower",
    "N": "CompressionForce",
    "mGy": "CTDIvol EntranceDoseInmGy",
    "dGy": "EntranceDose OrganDose",
    "Gy": "TargetPrescriptionDose",
    "T": "MagneticFieldStrength",
    "T/s": "dBdt",
    "MHz": "ImagingFrequency TransmitterFrequency",
    "Hz/pixel": "PixelBandwidth",
    "W/kg": "SAR",
    "s/mm2": "DiffusionBValue",
    "kg": "PatientWeight",
    "m": "PatientSize",
    "ml": "ContrastBolusVolume",
    "cm3": "RadiopharmaceuticalVolume",
    "ml/s": "ContrastFlowRate",
    "mg/ml": "ContrastBolusIngredientConcentration",
    "Bq": "RadionuclideTotalDose",
    "beats/min": "HeartRate",
    "frames/s": "CineRate RecommendedDisplayFrameRate",
    "pixels": "Columns Rows TotalPixelMatrixColumns TotalPixelMatrixRows",
    "bits": "BitsAllocated BitsStored",
    "days, weeks, months or years: its last letter": "PatientAge",
    "bytes": "bytes_fetched header_bytes instance_size pixel_data_offset",
    "MB": "series_size_MB",
}

UNITS: Final = {keyword: unit for unit, keywords in _KEYWORDS.items() for keyword in keywords.split()}
"""Units by the names of columns."""
