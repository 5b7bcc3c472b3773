"""Values of synthetic headers, as SQL over one row per instance: the attributes of IDC's common modalities.

The rows have the columns of idc-index, `n` (the instance's number in its series, from 1) and the hashes
`h`, `hs`, `ht` and `hp` of the instance, its series, its study and its patient, so that what belongs to a
series is one for all of it. Types are not cared for here: the data dictionary gives them.
"""

from making.sequences import ANNOTATIONS, CODED, POSITRON_EMISSION, REPORT, SEGMENTS, SLIDE, STRUCTURES

MACROS = (
    "part(h, shift, size) AS CAST((h >> shift) % size AS BIGINT)",
    "pick(h, shift, options) AS options[1 + CAST((h >> shift) % len(options) AS BIGINT)]",
    "one_of(text, h) AS pick(h, 9, split(text, ','))",
    "clock(h) AS make_time(7 + part(h, 3, 12), part(h, 11, 60), part(h, 23, 60) + 0.5)",
    "rarely(h, one_in, value) AS CASE WHEN (h >> 5) % one_in = 0 THEN value END",
    "mostly(h, one_in, value) AS CASE WHEN (h >> 5) % one_in <> 0 THEN value END",
    (
        "code(value, scheme, meaning) AS"
        " [{'CodeValue': value, 'CodingSchemeDesignator': scheme, 'CodeMeaning': meaning}]"
    ),
    "name(text) AS {'Alphabetic': text, 'Ideographic': NULL::VARCHAR, 'Phonetic': NULL::VARCHAR}",
    "made_uid(h) AS '1.3.6.1.4.1.14519.5.2.1.' || h || '.' || hash(h)",
)

# One series of forty has two slices in one place, one of twenty-three is unevenly spaced.
_SPACING = "pick(hs, 7, [0.625, 1.25, 2.0, 2.5, 3.0, 5.0])"
_POSITION = (
    f"((n - CASE WHEN hs % 41 = 0 AND n % 7 = 0 THEN 1 ELSE 0 END) * {_SPACING}"
    " + CASE WHEN hs % 23 = 0 AND n % 5 = 0 THEN 0.3 ELSE 0 END - part(hs, 13, 400))"
)

EVERY = {
    "FileMetaInformationGroupLength": "190 + part(h, 6, 16)",
    "MediaStorageSOPClassUID": "SOPClassUID",
    "MediaStorageSOPInstanceUID": "made_uid(h)",
    "TransferSyntaxUID": "one_of(TransferSyntaxUID, h)",
    "ImplementationClassUID": "'1.2.40.0.13.1.1.1'",
    "ImplementationVersionName": "'dcm4che-1.4.35'",
    "SpecificCharacterSet": "['ISO_IR 100']",
    "InstanceCreationDate": "CAST(StudyDate AS DATE)",
    "InstanceCreationTime": "clock(h)",
    "SOPClassUID": "SOPClassUID",
    "SOPInstanceUID": "made_uid(h)",
    "StudyDate": "CAST(StudyDate AS DATE)",
    "SeriesDate": "CAST(SeriesDate AS DATE)",
    "ContentDate": "CAST(SeriesDate AS DATE)",
    "StudyTime": "clock(ht)",
    "SeriesTime": "clock(hs)",
    "ContentTime": "clock(h)",
    "AccessionNumber": "mostly(ht, 3, CAST(ht AS VARCHAR)[:16])",
    "Modality": "Modality",
    "Manufacturer": "Manufacturer",
    "ManufacturerModelName": "ManufacturerModelName",
    "ReferringPhysicianName": "NULL::STRUCT(Alphabetic VARCHAR, Ideographic VARCHAR, Phonetic VARCHAR)",
    "StudyDescription": "StudyDescription",
    "SeriesDescription": "SeriesDescription",
    "PatientName": "name(PatientID)",
    "PatientID": "PatientID",
    "PatientSex": "PatientSex",
    "PatientAge": "PatientAge",
    "PatientIdentityRemoved": "'YES'",
    "DeidentificationMethod": "['Per DICOM PS 3.15 AnnexE. Details in 0012,0064']",
    "DeidentificationMethodCodeSequence": CODED["deidentification"],
    "ClinicalTrialSponsorName": "mostly(hash(collection_id), 5, 'NCI')",
    "ClinicalTrialProtocolID": "mostly(hash(collection_id), 5, collection_id)",
    "ClinicalTrialProtocolName": "mostly(hash(collection_id), 5, upper(collection_id))",
    "ClinicalTrialSubjectID": "PatientID",
    "ClinicalTrialTimePointID": "rarely(ht, 4, 'T' || part(ht, 8, 3))",
    "StudyInstanceUID": "StudyInstanceUID",
    "SeriesInstanceUID": "SeriesInstanceUID",
    "StudyID": "mostly(ht, 4, CAST(part(ht, 8, 9000) AS VARCHAR))",
    "SeriesNumber": "TRY_CAST(SeriesNumber AS BIGINT)",
    "InstanceNumber": "n",
    "SoftwareVersions": "[pick(hs, 17, ['07MW18.4', 'syngo CT 2012B', '5.1.7', 'V2.04', 'R1.31'])]",
    "DeviceSerialNumber": "mostly(hs, 6, CAST(hash(ManufacturerModelName) % 90000 AS VARCHAR))",
}

IMAGE = {
    "SamplesPerPixel": "CASE WHEN PhotometricInterpretation LIKE 'MONO%' THEN 1 ELSE 3 END",
    "PhotometricInterpretation": "one_of(PhotometricInterpretation, h)",
    "Rows": "pick(hs, 19, [512, 512, 512, 256, 320])",
    "Columns": "pick(hs, 19, [512, 512, 512, 256, 320])",
    "BitsAllocated": "CASE WHEN PhotometricInterpretation LIKE 'MONO%' THEN 16 ELSE 8 END",
    "BitsStored": "CASE WHEN PhotometricInterpretation LIKE 'MONO%' THEN 12 ELSE 8 END",
    "HighBit": "CASE WHEN PhotometricInterpretation LIKE 'MONO%' THEN 11 ELSE 7 END",
    "PixelRepresentation": "CAST(one_of(PixelRepresentation, h) AS BIGINT)",
    "BurnedInAnnotation": "rarely(hs, 3, 'NO')",
    "LossyImageCompression": "rarely(hs, 5, '00')",
}

SLICES = {
    "ImageType": "pick(hs, 21, [['ORIGINAL', 'PRIMARY', 'AXIAL'], ['ORIGINAL', 'PRIMARY', 'AXIAL'],"
    " ['DERIVED', 'SECONDARY', 'REFORMATTED'], ['ORIGINAL', 'PRIMARY', 'LOCALIZER']])",
    "AcquisitionDate": "CAST(SeriesDate AS DATE)",
    "AcquisitionTime": "clock(hs)",
    "AcquisitionNumber": "1 + part(hs, 4, 3)",
    "BodyPartExamined": "BodyPartExamined",
    "PatientPosition": "pick(hs, 25, ['HFS', 'HFS', 'FFS', 'HFP'])",
    "FrameOfReferenceUID": "made_uid(ht)",
    "PositionReferenceIndicator": "mostly(hs, 3, 'SN')",
    "SliceThickness": f"mostly(hs, 31, {_SPACING})",
    "SliceLocation": f"mostly(hs, 4, round({_POSITION}, 3))",
    "ImagePositionPatient": f"[-(150.0 + part(hs, 5, 90)), -(140.0 + part(hs, 9, 90)), {_POSITION}]",
    "ImageOrientationPatient": "pick(hs, 27, [[1.0, 0, 0, 0, 1.0, 0], [1.0, 0, 0, 0, 1.0, 0],"
    " [1.0, 0, 0, 0, 0, -1.0], [0.9996, 0.0282, 0, -0.0276, 0.9787, -0.2034]])",
    "PixelSpacing": "mostly(hs, 53, pick(hs, 8, [[0.5, 0.5], [0.625, 0.625], [0.703125, 0.703125],"
    " [0.78125, 0.78125], [0.859375, 0.859375], [0.9765625, 0.9765625]]))",
    "WindowCenter": "pick(hs, 6, [[40.0], [-600.0], [40.0, -500.0], [50.0]])",
    "WindowWidth": "pick(hs, 6, [[400.0], [1600.0], [400.0, 1500.0], [350.0]])",
    "RescaleIntercept": "-1024",
    "RescaleSlope": "1",
    "SmallestImagePixelValue": "rarely(hs, 3, part(h, 8, 40))",
    "LargestImagePixelValue": "rarely(hs, 3, 900 + part(h, 14, 3000))",
    "PixelPaddingValue": "rarely(hs, 2, -2000)",
}

COMPUTED_TOMOGRAPHY = {
    "KVP": "mostly(hs, 67, pick(hs, 10, [120, 120, 120, 140, 100, 80]))",
    "ScanOptions": "pick(hs, 12, [['HELICAL MODE'], ['AXIAL MODE'], ['HELIX']])",
    "DataCollectionDiameter": "500",
    "ReconstructionDiameter": "300 + part(hs, 8, 200)",
    "DistanceSourceToDetector": "949.075",
    "DistanceSourceToPatient": "541",
    "GantryDetectorTilt": "rarely(hs, 19, -12.5)",
    "TableHeight": "130 + part(ht, 8, 60)",
    "RotationDirection": "'CW'",
    "ExposureTime": "400 + part(hs, 8, 600)",
    "XRayTubeCurrent": "80 + part(h, 8, 360)",
    "Exposure": "20 + part(h, 8, 90)",
    "FilterType": "pick(hs, 14, ['BODY FILTER', 'WEDGE_2', 'HEAD FILTER', 'FLAT'])",
    "GeneratorPower": "20 + part(h, 8, 60)",
    "FocalSpots": "pick(hs, 16, [[1.2], [0.7], [0.7, 1.2]])",
    "ConvolutionKernel": "mostly(hs, 29, pick(hs, 18, [['STANDARD'], ['B30f'], ['LUNG'], ['B70f'],"
    " ['FC51'], ['BONE'], ['I40f', '3']]))",
    "RevolutionTime": "mostly(hs, 3, 0.5 + part(hs, 8, 5) / 10)",
    "SingleCollimationWidth": "mostly(hs, 3, 0.625)",
    "TotalCollimationWidth": "mostly(hs, 3, 40)",
    "TableSpeed": "mostly(hs, 3, 55)",
    "TableFeedPerRotation": "mostly(hs, 3, 55 * (0.5 + part(hs, 8, 5) / 10))",
    "SpiralPitchFactor": "mostly(hs, 3, 0.984375)",
    "ExposureModulationType": "CASE WHEN hs % 4 > 0 THEN ['XYZ_EC'] END",
    "CTDIvol": "mostly(hs, 4, 4 + part(h, 8, 120) / 10)",
    "ContrastBolusAgent": "rarely(hs, 3, pick(hs, 21, ['OMNIPAQUE', 'VISIPAQUE 320', 'APPLIED']))",
    "ContrastBolusRoute": "rarely(hs, 9, 'IV')",
    "RescaleType": "'HU'",
    "ProtocolName": "pick(hs, 23, ['CHEST', 'THORAX ROUTINE', '5.1 ABD PEL', 'LUNG SCREEN'])",
}

MAGNETIC_RESONANCE = {
    "ScanningSequence": "pick(hs, 10, [['SE'], ['GR'], ['EP', 'SE'], ['GR', 'IR']])",
    "SequenceVariant": "pick(hs, 12, [['SK', 'SP'], ['NONE'], ['SP', 'OSP']])",
    "ScanOptions": "pick(hs, 14, [['FS'], ['PFP', 'SFS'], ['SAT_GEMS']])",
    "MRAcquisitionType": "pick(hs, 16, ['2D', '3D'])",
    "SequenceName": "mostly(hs, 3, pick(hs, 18, ['*tse2d1_15', '*fl3d1', '*ep_b50t', '*tfl3d1']))",
    "AngioFlag": "mostly(hs, 3, 'N')",
    "RepetitionTime": "400 + part(hs, 8, 6000)",
    "EchoTime": "2 + part(hs, 8, 110)",
    "InversionTime": "rarely(hs, 5, 900 + part(hs, 8, 1500))",
    "NumberOfAverages": "1 + part(hs, 8, 3)",
    "ImagingFrequency": "CASE WHEN hs % 2 = 0 THEN 63.66 ELSE 123.25 END",
    "ImagedNucleus": "'1H'",
    "EchoNumbers": "[1]",
    "MagneticFieldStrength": "CASE WHEN hs % 2 = 0 THEN 1.5 ELSE 3 END",
    "SpacingBetweenSlices": f"mostly(hs, 5, {_SPACING})",
    "NumberOfPhaseEncodingSteps": "128 + part(hs, 8, 200)",
    "EchoTrainLength": "1 + part(hs, 8, 30)",
    "PercentSampling": "80 + part(hs, 8, 20)",
    "PercentPhaseFieldOfView": "75 + part(hs, 8, 25)",
    "PixelBandwidth": "100 + part(hs, 8, 400)",
    "FlipAngle": "10 + part(hs, 8, 170)",
    "VariableFlipAngleFlag": "'N'",
    "SAR": "part(h, 8, 3000) / 1000",
    "dBdt": "rarely(hs, 2, 0.5)",
    "AcquisitionMatrix": "[0, 256, 192 + part(hs, 8, 64), 0]",
    "InPlanePhaseEncodingDirection": "pick(hs, 20, ['ROW', 'COL'])",
    "TransmitCoilName": "mostly(hs, 3, 'Body')",
    "TriggerTime": "rarely(hs, 6, n * 2.5)",
    "DiffusionBValue": "rarely(hs, 7, pick(h, 22, [0, 50, 400, 800]))",
    "ProtocolName": "pick(hs, 23, ['t2_tse_tra', 'DIFFUSION', 'Ax T1 FS', 'DYNAMIC', 'LOC'])",
}

PROJECTION = {
    "ImageType": "['ORIGINAL', 'PRIMARY']",
    "AcquisitionDate": "CAST(SeriesDate AS DATE)",
    "AcquisitionTime": "clock(h)",
    "BodyPartExamined": "BodyPartExamined",
    "ViewPosition": "pick(h, 10, ['CC', 'MLO', 'PA', 'LL', 'AP'])",
    "ImageLaterality": "pick(h, 13, ['L', 'R'])",
    "PatientOrientation": "pick(h, 10, [['A', 'R'], ['P', 'L'], ['L', 'F']])",
    "KVP": "26 + part(h, 8, 60)",
    "ExposureTime": "200 + part(h, 8, 900)",
    "Exposure": "10 + part(h, 8, 90)",
    "XRayTubeCurrent": "60 + part(h, 8, 60)",
    "DistanceSourceToDetector": "660",
    "ImagerPixelSpacing": "[0.07, 0.07]",
    "BodyPartThickness": "30 + part(h, 8, 50)",
    "CompressionForce": "60 + part(h, 8, 90)",
    "DetectorType": "'DIRECT'",
    "FilterMaterial": "['RHODIUM']",
    "AnodeTargetMaterial": "'TUNGSTEN'",
    "PresentationIntentType": "'FOR PRESENTATION'",
    "PixelIntensityRelationship": "'LOG'",
    "WindowCenter": "[2047.0]",
    "WindowWidth": "[4095.0]",
    "ViewCodeSequence": CODED["view"],
    "AnatomicRegionSequence": CODED["breast"],
}

OTHER = {
    "ImageType": "['DERIVED', 'SECONDARY']",
    "ConversionType": "'WSD'",
    "BodyPartExamined": "BodyPartExamined",
    "NumberOfFrames": "rarely(hs, 3, 1 + part(h, 8, 60))",
}

_SLICED = {**EVERY, **IMAGE, **SLICES}
_PROJECTED = {**EVERY, **IMAGE, **PROJECTION}

MODALITIES = {
    "CT": {**_SLICED, **COMPUTED_TOMOGRAPHY},
    "MR": {**_SLICED, **MAGNETIC_RESONANCE},
    "PT": {**_SLICED, **POSITRON_EMISSION},
    "SM": {**EVERY, **IMAGE, **SLIDE},
    "SEG": {**EVERY, **IMAGE, **SEGMENTS},
    "SR": {**EVERY, **REPORT},
    "RTSTRUCT": {**EVERY, **STRUCTURES},
    "ANN": {**EVERY, **ANNOTATIONS},
    "MG": _PROJECTED,
    "CR": _PROJECTED,
    "DX": _PROJECTED,
    "XA": _PROJECTED,
    "RF": _PROJECTED,
}
"""For each modality the attributes by keyword; the others have those of `WITH_PIXELS` or `WITHOUT_PIXELS`."""

WITH_PIXELS = {**EVERY, **IMAGE, **OTHER}
WITHOUT_PIXELS = {**EVERY, "ContentLabel": "'MADE'", "ContentDescription": "SeriesDescription"}


def attributes(modality: str | None, *, pixels: bool) -> dict[str, str]:
    """The attributes of a modality's headers, by keyword, as SQL."""
    return MODALITIES.get(modality or "", WITH_PIXELS if pixels else WITHOUT_PIXELS)
