"""IDC's derived tables, as SQL over the instances: segments, measurements and curated series."""

from typing import Final

from harvester.query.portal_tables import DERIVED_ALL, PIVOT

_SEGMENTATION_STORAGE: Final = "'1.2.840.10008.5.1.4.1.1.66.4'"
# Basic Text, Enhanced, Comprehensive, Comprehensive 3D and Extensible SR Storage (PS3.4 B.5).
_SR_STORAGE: Final = ", ".join(f"'1.2.840.10008.5.1.4.1.1.88.{number}'" for number in (11, 22, 33, 34, 35))
_VIEWER: Final = "https://viewer.imaging.datacommons.cancer.gov/v3/viewer/"


def _concept(item: str) -> str:
    """The concept name of a content item, such as `DCM 121071`."""
    name = f"{item}.ConceptNameCodeSequence[1]"
    return f"{name}.CodingSchemeDesignator || ' ' || {name}.CodeValue"


def _content(condition: str) -> str:
    """The first of a group's contents, `c`, for which a condition holds."""
    return f"list_filter(contents, lambda c: {condition})[1]"


def _modifier(item: str, *concepts: str) -> str:
    """The code of the first content item below another, `m`, that has one of these concepts."""
    listed = ", ".join(f"'{concept}'" for concept in concepts)
    return (
        f"list_filter({item}.ContentSequence, lambda m: {_concept('m')} IN ({listed}))[1]"
        ".ConceptCodeSequence[1]"
    )


def _code(item: str, *more: str) -> str:
    """The values of a code sequence's item as a struct; NULL where there is no item."""
    names = ("CodeValue", "CodingSchemeDesignator", *more, "CodeMeaning")
    fields = ", ".join(f"{name}: {item}.{name}" for name in names)
    return f"CASE WHEN {item} IS NOT NULL THEN {{{fields}}} END"


def _versioned_code(item: str) -> str:
    return _code(item, "CodingSchemeVersion")


# TID 1500: a container below the root holds the measurement groups (such as TID 1411). IDC's older
# reports name the finding site by SRT.
_GROUPS: Final = f"""
    WITH containers AS (
        SELECT SOPInstanceUID, SeriesInstanceUID, PatientID, SeriesDescription,
               unnest(list_transform(ContentSequence, lambda c: c.ContentSequence)) AS items
        FROM dicom_metadata
        WHERE SOPClassUID IN ({_SR_STORAGE}) AND ContentTemplateSequence[1].TemplateIdentifier = '1500'
          AND ContentTemplateSequence[1].MappingResource = 'DCMR'),
    groups AS (
        SELECT * EXCLUDE (items),
               unnest(list_filter(
                   list_transform(items, lambda c, n: {{item: c, number: n - 1}}),
                   lambda c: c.item.ValueType = 'CONTAINER' AND {_concept("c.item")} = 'DCM 125007'
               )) AS numbered
        FROM containers),
    contents AS (
        SELECT *, list_transform(numbered.item.ContentSequence, lambda c: {{
                      kind: c.ValueType, concept: {_concept("c")}, text_value: c.TextValue, uid_value: c.UID,
                      code: c.ConceptCodeSequence[1], referenced: c.ReferencedSOPSequence[1],
                      ContentSequence: c.ContentSequence}}) AS contents
        FROM groups),
    parts AS (
        SELECT SOPInstanceUID, SeriesInstanceUID, PatientID, SeriesDescription,
               numbered.number AS measurementGroup_number, numbered.item AS item,
               {_content("c.kind = 'TEXT' AND c.concept = 'DCM 112039'")}.text_value AS tracking,
               {_content("c.kind = 'UIDREF' AND c.concept = 'DCM 112040'")}.uid_value AS tracking_uid,
               {_content("c.kind = 'UIDREF' AND c.concept = 'DCM 121232'")}.uid_value AS source,
               {_content("c.kind = 'CODE' AND c.concept = 'DCM 121071'")}.code AS finding,
               {_content("c.kind = 'CODE' AND c.concept IN ('SCT 363698007', 'SRT G-C0E3')")} AS site,
               {_content(f"c.referenced.ReferencedSOPClassUID = {_SEGMENTATION_STORAGE}")}
                   .referenced AS segment
        FROM contents)"""
_GROUP_COLUMNS: Final = f"""
        g.SOPInstanceUID, g.SeriesInstanceUID, g.measurementGroup_number,
        g.tracking_uid AS trackingUniqueIdentifier, g.tracking AS trackingIdentifier,
        g.PatientID, g.SeriesDescription, {_versioned_code("g.finding")} AS finding,
        {_versioned_code("g.site.code")} AS findingSite, g.source AS sourceSegmentedSeriesUID,
        g.segment.ReferencedSOPInstanceUID AS segmentationInstanceUID,
        s.SeriesInstanceUID AS segmentationSeriesUID,
        g.segment.ReferencedSegmentNumber[1] AS segmentationSegmentNumber"""
# As in IDC's definition, a group without one of these is none.
_GROUP_SOURCE: Final = f"""
    FROM parts AS g LEFT JOIN (
        SELECT SOPInstanceUID, any_value(SeriesInstanceUID) AS SeriesInstanceUID FROM dicom_metadata
        WHERE SOPClassUID = {_SEGMENTATION_STORAGE} GROUP BY SOPInstanceUID
    ) AS s ON g.segment.ReferencedSOPInstanceUID = s.SOPInstanceUID
    WHERE g.tracking IS NOT NULL AND g.tracking_uid IS NOT NULL AND g.source IS NOT NULL
      AND g.finding IS NOT NULL AND g.site.code IS NOT NULL AND g.segment IS NOT NULL"""
_MEASUREMENT_COLUMNS: Final = """
    PatientID, SOPInstanceUID, SeriesInstanceUID, {more}measurementGroup_number, segmentationInstanceUID,
    segmentationSeriesUID, segmentationSegmentNumber, sourceSegmentedSeriesUID, trackingIdentifier,
    trackingUniqueIdentifier"""

_MEASUREMENT_GROUPS: Final = f"{_GROUPS} SELECT {_GROUP_COLUMNS}, g.item AS contentSequence {_GROUP_SOURCE}"

_QUANTITATIVE: Final = f"""{_GROUPS},
    measured AS (
        SELECT {_GROUP_COLUMNS}, {_modifier("g.site", "SCT 272741003", "SRT G-C171")} AS laterality,
               unnest(list_transform(
                   list_filter(g.item.ContentSequence, lambda c: c.ValueType = 'NUM'),
                   lambda c: {{concept: c.ConceptNameCodeSequence[1], measured: c.MeasuredValueSequence[1],
                              derivation: {_modifier("c", "DCM 121401")}}})) AS num
        {_GROUP_SOURCE})
    SELECT {_MEASUREMENT_COLUMNS.format(more="SeriesDescription, ")},
           {_code("num.concept")} AS Quantity, {_code("num.derivation")} AS derivationModifier,
           TRY_CAST(num.measured.NumericValue[1] AS DECIMAL(38, 9)) AS "Value",
           {_versioned_code("num.measured.MeasurementUnitsCodeSequence[1]")} AS Units,
           finding, findingSite, {_versioned_code("laterality")} AS lateralityModifier
    FROM measured"""

_QUALITATIVE: Final = f"""{_GROUPS},
    evaluated AS (
        SELECT {_GROUP_COLUMNS},
               unnest(list_transform(
                   list_filter(g.item.ContentSequence, lambda c: c.ValueType = 'CODE'
                       AND {_concept("c")} NOT IN ('DCM 121071', 'SCT 363698007', 'SRT G-C0E3')),
                   lambda c: {{concept: c.ConceptNameCodeSequence[1], code: c.ConceptCodeSequence[1]}}
               )) AS evaluation
        {_GROUP_SOURCE})
    SELECT {_MEASUREMENT_COLUMNS.format(more="")}, {_code("evaluation.concept")} AS Quantity,
           {_versioned_code("evaluation.code")} AS "Value", finding, findingSite
    FROM evaluated"""

_PROPERTY_TYPE: Final = "segment.SegmentedPropertyTypeCodeSequence[1]"
_SEGMENTATIONS: Final = f"""
    WITH objects AS (
        SELECT PatientID, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, FrameOfReferenceUID,
               SegmentationType, unnest(SegmentSequence) AS segment,
               ReferencedSeriesSequence[1].SeriesInstanceUID AS referenced_series,
               COALESCE(ReferencedSeriesSequence[1].ReferencedInstanceSequence[1].ReferencedSOPInstanceUID,
                        ReferencedImageSequence[1].ReferencedSOPInstanceUID,
                        SourceImageSequence[1].ReferencedSOPInstanceUID) AS referenced
        FROM dicom_metadata WHERE SOPClassUID = {_SEGMENTATION_STORAGE}),
    series AS (
        SELECT SOPInstanceUID, any_value(SeriesInstanceUID) AS SeriesInstanceUID FROM dicom_metadata
        WHERE SOPInstanceUID IN (SELECT referenced FROM objects) GROUP BY SOPInstanceUID)
    SELECT PatientID, StudyInstanceUID, o.SeriesInstanceUID, o.SOPInstanceUID, FrameOfReferenceUID,
           SegmentationType, {_code("segment.AnatomicRegionSequence[1]")} AS AnatomicRegion,
           {_code("segment.AnatomicRegionSequence[1].AnatomicRegionModifierSequence[1]")}
               AS AnatomicRegionModifier,
           {_code("segment.SegmentedPropertyCategoryCodeSequence[1]")} AS SegmentedPropertyCategory,
           {_code(_PROPERTY_TYPE, "SegmentedPropertyTypeModifierCodeSequence")}
               AS SegmentedPropertyType,
           segment.SegmentAlgorithmType AS SegmentAlgorithmType,
           segment.SegmentAlgorithmName[1] AS SegmentAlgorithmName, segment.SegmentNumber AS SegmentNumber,
           segment.TrackingUID AS TrackingUID, segment.TrackingID AS TrackingID,
           COALESCE(r.SeriesInstanceUID, referenced_series) AS segmented_SeriesInstanceUID,
           '{_VIEWER}?StudyInstanceUIDs=' || StudyInstanceUID
               || '&initialSeriesInstanceUID=' || o.SeriesInstanceUID AS viewer_url
    FROM objects AS o LEFT JOIN series AS r ON o.referenced = r.SOPInstanceUID"""

_SPECIMEN: Final = "SpecimenDescriptionSequence[1]"
_STRUCTURE: Final = f"{_SPECIMEN}.PrimaryAnatomicStructureSequence[1]"


def _preparation(name: str, *values: str) -> str:
    """The codes and meanings of the substances that a preparation step used."""
    codes = (
        f"list_filter(list_distinct(flatten(list(substances))), "
        f"lambda s: s.concept IN ({', '.join(map(repr, values))}))"
    )
    return (
        f"list_transform({codes}, lambda s: s.meaning) AS {name}_CodeMeaning, "
        f"list_transform({codes}, lambda s: s.code) AS {name}_code_designator_value_str"
    )


def _coded(column: str, name: str) -> str:
    return (
        f"any_value({column}.CodingSchemeDesignator || ':' || {column}.CodeValue) "
        f"AS {name}_code_designator_value_str, any_value({column}.CodeMeaning) AS {name}_CodeMeaning"
    )


_CURATED_SERIES: Final = f"""
    WITH instance AS (
        SELECT SeriesInstanceUID, Modality, OpticalPathSequence[1].ObjectiveLensPower AS power,
               TotalPixelMatrixColumns, TotalPixelMatrixRows, "Columns", "Rows",
               PixelSpacing[1] AS spacing,
               SharedFunctionalGroupsSequence[1].PixelMeasuresSequence[1].PixelSpacing[1] AS shared_spacing,
               {_STRUCTURE} AS structure,
               {_STRUCTURE}.PrimaryAnatomicStructureModifierSequence[1] AS modifier,
               OpticalPathSequence[1].IlluminationTypeCodeSequence[1] AS illumination,
               flatten(list_transform({_SPECIMEN}.SpecimenPreparationSequence, lambda p: list_transform(
                   p.SpecimenPreparationStepContentItemSequence, lambda c: {{
                       concept: {_concept("c")}, meaning: c.ConceptCodeSequence[1].CodeMeaning,
                       code: c.ConceptCodeSequence[1].CodingSchemeDesignator || ':'
                           || c.ConceptCodeSequence[1].CodeValue}}))) AS substances
        FROM dicom_all),
    grouped AS (
        SELECT SeriesInstanceUID, any_value(Modality) AS Modality,
               COALESCE(min(spacing), min(shared_spacing)) AS least,
               COALESCE(max(TotalPixelMatrixColumns), max("Columns")) AS max_TotalPixelMatrixColumns,
               COALESCE(max(TotalPixelMatrixRows), max("Rows")) AS max_TotalPixelMatrixRows,
               TRY_CAST(any_value(power) AS BIGINT) AS ObjectiveLensPower,
               {_coded("structure", "primaryAnatomicStructure")},
               {_coded("modifier", "primaryAnatomicStructureModifier")},
               {_coded("illumination", "illuminationType")},
               {_preparation("embeddingMedium", "SCT 430863003")},
               {_preparation("tissueFixative", "SCT 430864009")},
               {_preparation("staining_usingSubstance", "SCT 424361007")}
        FROM instance WHERE SeriesInstanceUID IS NOT NULL GROUP BY SeriesInstanceUID)
    SELECT SeriesInstanceUID, Modality,
           CASE WHEN least = 0 THEN 0
                ELSE round(least, CAST(1 - floor(log10(abs(least))) AS INTEGER)) END AS min_PixelSpacing_2sf,
           * EXCLUDE (SeriesInstanceUID, Modality, least)
    FROM grouped"""

# Of the installed release; the last columns of each are older names of the same.
_COLLECTIONS: Final = """
    SELECT collection_name, collection_id, cancer_types, tumor_locations, subjects, species, sources,
           supporting_data, program_id, status, TRY_CAST(updated AS DATE) AS updated, description,
           cancer_types AS CancerTypes, tumor_locations AS TumorLocations,
           supporting_data AS SupportingData, program_id AS Program,
           collection_name AS tcia_api_collection_id, collection_name AS tcia_wiki_collection_id,
           collection_id AS idc_webapp_collection_id, cancer_types AS CancerType,
           tumor_locations AS Location, 'Public' AS Access,
           sources[1].modalities AS ImageType, sources[1].source_doi AS DOI, sources[1].source_url AS URL,
           sources[1].license.license_url AS license_url,
           sources[1].license.license_long_name AS license_long_name,
           sources[1].license.license_short_name AS license_short_name
    FROM collections_index"""
_ANALYSIS_RESULTS: Final = """
    SELECT analysis_result_id, analysis_result_title, source_DOI AS source_doi, source_url, subjects,
           collections, modalities, TRY_CAST(updated AS DATE) AS updated, license_url, license_long_name,
           license_short_name, description, citation, analysis_result_id AS ID,
           analysis_result_title AS Title, source_DOI AS DOI, 'Public' AS Access, modalities AS ImageTypes
    FROM analysis_results_index"""

DERIVED: Final = {
    "original_collections_metadata": _COLLECTIONS,
    "analysis_results_metadata": _ANALYSIS_RESULTS,
    "measurement_groups": _MEASUREMENT_GROUPS,
    "quantitative_measurements": _QUANTITATIVE,
    "qualitative_measurements": _QUALITATIVE,
    "segmentations": _SEGMENTATIONS,
    "dicom_metadata_curated_series_level": _CURATED_SERIES,
    "dicom_derived_all": DERIVED_ALL,
    "dicom_pivot": PIVOT,
}
"""The queries that define the tables, in DuckDB's dialect."""
