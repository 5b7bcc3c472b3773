"""IDC's tables behind its portal: each instance with its segments and its measurements in columns."""

from typing import Final

from harvester.catalog.database import literal

_EVALUATIONS: Final = (
    "Internal_structure",
    "Sphericity",
    "Calcification",
    "Lobular_Pattern",
    "Spiculation",
    "Margin",
    "Texture",
    "Subtlety_score",
    "Malignancy",
)
# Each measurement's column, and its concept's meaning in lower case.
_MEASUREMENTS: Final = {
    "Volume": "volume",
    "Diameter": "diameter",
    "Surface_area_of_mesh": "surface area of mesh",
    "Apparent_Diffusion_Coefficient": "apparent diffusion coefficient",
    "Sphericity_quant": "sphericity",
    "Volume_of_Mesh": "volume of mesh",
}
_OF_INSTANCE: Final = (
    "PatientID",
    "SeriesInstanceUID",
    "SamplesPerPixel",
    "SeriesNumber",
    "SeriesDescription",
    "StudyInstanceUID",
    "StudyDescription",
    "StudyDate",
    "SOPInstanceUID",
    "instance_size",
    "Modality",
    "SOPClassUID",
    "license_short_name",
    "crdc_study_uuid",
    "crdc_series_uuid",
    "crdc_instance_uuid",
    "source_DOI",
    "gcs_url",
    "aws_url",
    "Manufacturer",
    "ManufacturerModelName",
    "gcs_bucket",
    "aws_bucket",
    "access",
)
# Of the patient, which `dicom_pivot` adds.
_OF_PATIENT: Final = (
    "AdditionalPatientHistory",
    "LastMenstrualDate",
    "EthnicGroup",
    "Occupation",
    "PatientAge",
    "PatientSex",
    "PatientComments",
    "PatientSize",
    "PatientWeight",
    "PregnancyStatus",
    "ReasonForStudy",
    "RequestedProcedureComments",
    "SmokingStatus",
    "SeriesDate",
)
_LISTS: Final = ("Allergies", "ImageType", "MedicalAlerts")
_FLAGS: Final = ("has_related", "has_qualitative", "has_quantitative", "has_segmentation", "has_derived")
_PER_SEGMENT: Final = "SOPInstanceUID, segmentationInstanceUID, segmentationSegmentNumber"


def _flag(condition: str, name: str) -> str:
    return f"CASE WHEN {condition} THEN 'True' ELSE 'False' END AS {name}"


def _evaluation(name: str) -> str:
    meaning = literal(name.replace("_", " "))
    return f'max("Value".CodeMeaning) FILTER (Quantity.CodeMeaning = {meaning}) AS {name}'


def _measurement(name: str, meaning: str) -> str:
    # IDC divides volumes in milliliters by 1000.
    value = """CASE WHEN Units.CodeMeaning = 'milliliter' THEN "Value" / 1000 ELSE "Value" END"""
    value = f"CAST({value} AS DECIMAL(38, 9))" if name == "Volume" else '"Value"'
    return f"max({value}) FILTER (lower(Quantity.CodeMeaning) = {literal(meaning)}) AS {name}"


_ALL: Final = f"""
    WITH qualitative AS (
        SELECT SOPInstanceUID, {", ".join(map(_evaluation, _EVALUATIONS))}
        FROM qualitative_measurements GROUP BY {_PER_SEGMENT}),
    quantitative AS (
        SELECT SOPInstanceUID, {", ".join(_measurement(*item) for item in _MEASUREMENTS.items())}
        FROM quantitative_measurements GROUP BY {_PER_SEGMENT}),
    curated AS (
        SELECT SOPInstanceUID, any_value(BodyPartExamined) AS BodyPartExamined,
               any_value(SliceThickness) AS SliceThickness
        FROM dicom_metadata_curated GROUP BY SOPInstanceUID)
    SELECT {
    ", ".join(f"d.{name}" for name in _OF_INSTANCE)
}, curated.BodyPartExamined, curated.SliceThickness,
           d.collection_tumorLocation AS tcia_tumorLocation, d.collection_cancerType AS CancerType,
           d.collection_species AS tcia_species, c.Program,
           replace(d.collection_id, '-', '_') AS collection_id,
           d.analysis_result_id AS analysis_results_id,
           s.illuminationType_code_designator_value_str AS illuminationType,
           s.primaryAnatomicStructure_code_designator_value_str AS primaryAnatomicStructure,
           s.ObjectiveLensPower, s.min_PixelSpacing_2sf AS min_PixelSpacing,
           s.max_TotalPixelMatrixColumns, s.max_TotalPixelMatrixRows,
           {", ".join((*_EVALUATIONS, *_MEASUREMENTS))},
           g.AnatomicRegion.CodeValue AS AnatomicRegionSequence,
           g.SegmentedPropertyCategory.CodeValue AS SegmentedPropertyCategoryCodeSequence,
           g.SegmentedPropertyType.CodeValue AS SegmentedPropertyTypeCodeSequence,
           g.FrameOfReferenceUID, g.SegmentNumber, g.SegmentAlgorithmType, g.SegmentAlgorithmName,
           {_flag("starts_with(d.collection_id, 'tcga_')", "has_related")},
           {_flag("qualitative.SOPInstanceUID IS NOT NULL", "has_qualitative")},
           {_flag("quantitative.SOPInstanceUID IS NOT NULL", "has_quantitative")},
           {
    _flag(
        "COALESCE(g.AnatomicRegion, g.SegmentedPropertyCategory) IS NOT NULL "
        "OR g.SegmentedPropertyType IS NOT NULL",
        "has_segmentation",
    )
},
           {
    _flag(
        "COALESCE(qualitative.SOPInstanceUID, quantitative.SOPInstanceUID, g.SOPInstanceUID) IS NOT NULL",
        "has_derived",
    )
}
           {{more}}
    FROM dicom_all AS d
    LEFT JOIN qualitative ON d.SOPInstanceUID = qualitative.SOPInstanceUID
    LEFT JOIN quantitative ON d.SOPInstanceUID = quantitative.SOPInstanceUID
    LEFT JOIN segmentations AS g ON d.SOPInstanceUID = g.SOPInstanceUID
    LEFT JOIN original_collections_metadata AS c ON d.collection_id = c.collection_id
    LEFT JOIN curated ON d.SOPInstanceUID = curated.SOPInstanceUID
    LEFT JOIN dicom_metadata_curated_series_level AS s ON d.SeriesInstanceUID = s.SeriesInstanceUID"""

_OF_HEADER: Final = (
    *(f"d.{name}" for name in _OF_PATIENT),
    *(f"array_to_string(d.{name}, ', ') AS {name}" for name in _LISTS),
)

PIVOT_ATTRIBUTES: Final = (*_OF_PATIENT, *_LISTS)
"""What `dicom_pivot` reads of a header, whether or not an object has it."""

DERIVED_ALL: Final = _ALL.format(more="")
PIVOT: Final = (
    f"SELECT * EXCLUDE ({', '.join(_FLAGS)}) FROM ({_ALL.format(more=', ' + ', '.join(_OF_HEADER))})"
)
