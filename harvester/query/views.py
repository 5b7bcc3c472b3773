"""The views over a dataset, as SQL: its own tables, IDC's under BigQuery's names, series and studies."""

from collections.abc import Iterable, Mapping
from typing import Final

import pyarrow as pa

from harvester.catalog.clouds import AWS_TO_GCS, GCS_TO_AWS
from harvester.catalog.database import identifier, literal
from harvester.dataset import (
    FAILURE_COLUMNS,
    FRAME_COLUMNS,
    INSTANCE_COLUMNS,
    PARTITION_COLUMNS,
    TableName,
)
from harvester.dataset.paths import NULL_PARTITION
from harvester.query.dictionary import attributes_by_keyword
from harvester.query.part_files import files_of
from harvester.query.sql_types import absent_type, sql_type
from harvester.query.supersession import CURRENT, SUPERSEDED

FIXED_COLUMNS: Final[dict[TableName, pa.Schema]] = {
    "instances": INSTANCE_COLUMNS,
    "frames": FRAME_COLUMNS,
    "failures": FAILURE_COLUMNS,
}

DICOM_TABLES: Final = ("dicom_all", "dicom_metadata", "dicom_metadata_curated", "auxiliary_metadata")
"""IDC's tables of one row an instance. `dicom_metadata` is here what `dicom_all` is."""

HEADER_MODALITY: Final = "header_modality"
"""The column of the rows under `instances` with the header's Modality, which IDC's tables show."""

CURATED: Final = ("SliceThickness", "BodyPartExamined")
"""The attributes that `dicom_metadata_curated` has, whether or not the dataset does."""

# What `dicom_all` has of the release's own tables: each column, and the view that it is looked up in.
_OF_SERIES: Final = {
    "analysis_result_id": "analysis_result_id",
    "source_DOI": "source_DOI",
    "license_short_name": "license_short_name",
    "series_init_idc_version": "series_init_idc_version",
    "series_revised_idc_version": "series_revised_idc_version",
}
_OF_COLLECTION: Final = {
    "collection_name": "collection_name",
    "collection_cancerType": "cancer_types",
    "collection_tumorLocation": "tumor_locations",
    "collection_species": "species",
    "tcia_api_collection_id": "collection_name",
    "tcia_cancerType": "cancer_types",
    "tcia_tumorLocation": "tumor_locations",
    "tcia_species": "species",
}
# IDC's bookkeeping, which neither a header nor the installed release has.
_UNKNOWN: Final = {
    **dict.fromkeys(
        (
            "collection_hash",
            "crdc_study_uuid",
            "idc_case_id",
            "instance_hash",
            "license_long_name",
            "license_url",
            "patient_hash",
            "series_hash",
            "source_URL",
            "study_hash",
            "Versioned_Source_DOI",
        ),
        "VARCHAR",
    ),
    **{
        f"{level}_{event}_idc_version": "BIGINT"
        for level in ("collection", "patient", "study", "instance")
        for event in ("init", "revised")
    },
    "collection_timestamp": "TIMESTAMP",
}
_OTHER_ELEMENTS: Final = (
    "list_transform(i.OtherElements, lambda e: "
    "{path: e.path, Tag: 'Tag_' || e.Tag, VR: e.VR, Creator: e.Creator, Data: e.Data})"
)
_AUXILIARY: Final = (
    "i.collection_id",
    "i.PatientID AS submitter_case_id",
    "i.StudyInstanceUID",
    "i.SeriesInstanceUID",
    "i.SOPInstanceUID",
    "i.crdc_series_uuid AS series_uuid",
    "i.crdc_instance_uuid AS instance_uuid",
    "CAST(NULL AS VARCHAR) AS study_uuid",
    "i.instance_size",
)
_SERIES_ATTRIBUTES: Final = (
    "StudyInstanceUID",
    "PatientID",
    "SOPClassUID",
    "SeriesNumber",
    "SeriesDescription",
    "SeriesDate",
    "BodyPartExamined",
    "Manufacturer",
    "ManufacturerModelName",
    "FrameOfReferenceUID",
    "StudyDate",
    "StudyDescription",
    "crdc_series_uuid",
    "idc_version",
)
_STUDY_ATTRIBUTES: Final = (
    "PatientID",
    "PatientSex",
    "PatientAge",
    "StudyDate",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
)


def table_view(kind: TableName, columns: pa.Schema, *, empty: bool) -> str:
    """Read the parts of one table; without parts it is empty and has the columns that every part has.

    The columns are given, so DuckDB opens a part only when a query reads it, and none whose folder
    shows that it has no row for the query.

    Args:
        kind: The table.
        columns: The columns of all its parts, united.
        empty: Whether there are no parts.
    """
    if empty:
        nulls = (
            f"CAST(NULL AS {sql_type(field.type)}) AS {identifier(field.name)}"
            for field in FIXED_COLUMNS[kind]
        )
        header = f", CAST(NULL AS VARCHAR) AS {HEADER_MODALITY}" if kind == "instances" else ""
        return f"SELECT {', '.join(nulls)}{header} WHERE false"
    declared = (
        f"{literal(field.name)}: {{name: {literal(field.name)}, type: {literal(sql_type(field.type))}, "
        "default_value: NULL}"
        for field in columns
    )
    # By the column that is asked for as an option, and not by the one of the same name that there is
    # anyway, DuckDB 1.5 skips files. The schema and DuckDB's own hive_partitioning exclude each other.
    read = f"read_parquet({files_of(kind)}, schema=MAP {{{', '.join(declared)}}}, filename=true)"
    if kind == "failures":
        return f"SELECT * EXCLUDE (filename) FROM {read}"
    folders = ", ".join(f"{_folder_value(name)} AS {name}" for name in PARTITION_COLUMNS.names)
    header = f", Modality AS {HEADER_MODALITY}" if kind == "instances" else ""
    return f"SELECT * EXCLUDE (filename) REPLACE ({folders}){header} FROM {read}"


def instance_columns(columns: pa.Schema, *, empty: bool) -> pa.Schema:
    """The columns that the parts of `instances` have as `table_view` reads them."""
    read = FIXED_COLUMNS["instances"] if empty else columns
    return read.append(pa.field(HEADER_MODALITY, pa.string()))


def _folder_value(column: str) -> str:
    """What the folders of a part's path say: `.../Modality=CT/part.parquet` says `CT`."""
    value = f"regexp_extract(filename, '.*/{column}=([^/]*)/', 1)"
    return f"url_decode(nullif({value}, {literal(NULL_PARTITION)}))"


def dicom_view(
    table: str,
    instances: str,
    arrays: Iterable[str],
    names: Iterable[str] | None = None,
    *,
    catalog: str = "",
) -> str:
    """One of IDC's tables: the instances, where both clouds have them, what the release knows of them.

    Args:
        table: One of `DICOM_TABLES`.
        instances: The view of instances, qualified.
        arrays: The columns of `instances` that are arrays: in IDC's tables none is NULL.
        names: The names that a query uses, in lower case; what it does not name of the release is
            not looked up. None means all.
        catalog: What qualifies the views of the release.
    """
    of_series = f" LEFT JOIN {catalog}idc_index AS s ON i.SeriesInstanceUID = s.SeriesInstanceUID"
    of_collection = f" LEFT JOIN {catalog}collections_index AS c ON i.collection_id = c.collection_id"
    if table == "dicom_metadata_curated":
        return (
            "SELECT i.SeriesInstanceUID, i.SOPInstanceUID, i.SliceThickness, "
            "COALESCE(s.BodyPartExamined, i.BodyPartExamined) AS BodyPartExamined, "
            "CASE WHEN len(string_split(c.cancer_types, ',')) > 5 THEN 'Various' ELSE c.cancer_types END "
            f"AS cancer_types FROM {instances} AS i{of_series}{of_collection} WHERE i.{CURRENT}"
        )
    named = None if names is None else set(names)
    series, collection = _wanted(_OF_SERIES, named), _wanted(_OF_COLLECTION, named)
    columns = [
        *((_attributes(arrays, named),) if table != "auxiliary_metadata" else _AUXILIARY),
        *(f"{sql} AS {identifier(name)}" for name, sql in _places("i.instance_url").items()),
        "i.collection_id AS idc_webapp_collection_id",
        "CAST('Public' AS VARCHAR) AS access",
        *(f"s.{identifier(source)} AS {identifier(name)}" for name, source in series.items()),
        *(f"c.{identifier(source)} AS {identifier(name)}" for name, source in collection.items()),
        *(f"CAST(NULL AS {kind}) AS {identifier(name)}" for name, kind in _UNKNOWN.items()),
    ]
    joins = (of_series if series else "") + (of_collection if collection else "")
    return f"SELECT {', '.join(columns)} FROM {instances} AS i{joins} WHERE i.{CURRENT}"


def array_columns(columns: pa.Schema) -> list[str]:
    """The columns that are arrays."""
    return [field.name for field in columns if pa.types.is_list(field.type)]


def _attributes(arrays: Iterable[str], names: set[str] | None) -> str:
    """The columns of the instances, with an empty array for an absent one."""
    wanted = [name for name in arrays if names is None or name.lower() in names]
    values = {
        name: _OTHER_ELEMENTS if name == "OtherElements" else f"i.{identifier(name)}" for name in wanted
    }
    replaced = [f"i.{HEADER_MODALITY} AS Modality"]
    replaced += [f"COALESCE({value}, []) AS {identifier(name)}" for name, value in values.items()]
    return f"i.* EXCLUDE ({', '.join((*SUPERSEDED, HEADER_MODALITY))}) REPLACE ({', '.join(replaced)})"


def series_view(columns: Iterable[str]) -> str:
    """One row a series: what its instances have in common, how many they are, how large."""
    present = {column.lower() for column in columns}
    return f"""
        SELECT SeriesInstanceUID, any_value(collection_id) AS collection_id,
               any_value(Modality) AS Modality, {_common(_SERIES_ATTRIBUTES, present)},
               count(*) AS instances, sum(instance_size)::BIGINT AS size,
               list_sort(list_distinct(list(TransferSyntaxUID))) AS TransferSyntaxUIDs,
               sum(header_bytes)::BIGINT AS header_bytes, sum(requests)::BIGINT AS requests,
               sum(bytes_fetched)::BIGINT AS bytes_fetched, max(harvested_at) AS harvested_at
        FROM instances WHERE {CURRENT} GROUP BY SeriesInstanceUID"""


def studies_view(columns: Iterable[str]) -> str:
    """One row a study."""
    present = {column.lower() for column in columns}
    return f"""
        SELECT StudyInstanceUID, any_value(collection_id) AS collection_id,
               {_common(_STUDY_ATTRIBUTES, present)},
               list_sort(list_distinct(list(Modality))) AS Modalities,
               count(DISTINCT SeriesInstanceUID) AS series, count(*) AS instances,
               sum(instance_size)::BIGINT AS size
        FROM instances WHERE {CURRENT} GROUP BY StudyInstanceUID"""


def with_curated(table: str, columns: Iterable[str]) -> str:
    """A table of instances with the attributes that `dicom_metadata_curated` always has."""
    present = {column.lower() for column in columns}
    missing = [name for name in CURATED if name.lower() not in present]
    absent = ", ".join(f"CAST(NULL AS {_type(name)}) AS {name}" for name in missing)
    return f"(SELECT *, {absent} FROM {table})" if missing else table


def _common(names: Iterable[str], present: set[str]) -> str:
    return ", ".join(
        f"any_value({name}) AS {name}"
        if name.lower() in present
        else f"CAST(NULL AS {_type(name)}) AS {name}"
        for name in names
    )


def _type(keyword: str) -> str:
    kind = absent_type(attributes_by_keyword()[keyword.lower()])
    return "VARCHAR" if kind is None else sql_type(kind)


def _wanted(columns: Mapping[str, str], names: set[str] | None) -> dict[str, str]:
    return {name: source for name, source in columns.items() if names is None or name.lower() in names}


def _places(url: str) -> dict[str, str]:
    """Where each cloud has an object: IDC's buckets are on both, any other on the one it was read from."""
    bucket = f"split_part({url}, '/', 3)"
    key = f"regexp_replace({url}, '^[^/]*//[^/]*/', '')"
    folder = f"regexp_replace({key}, '[^/]*$', '')"
    places = {}
    for cloud, scheme, other, names in (
        ("gcs", "gs", "s3", AWS_TO_GCS),
        ("aws", "s3", "gs", GCS_TO_AWS),
    ):
        cases = " ".join(f"WHEN {literal(theirs)} THEN {literal(ours)}" for theirs, ours in names.items())
        name = (
            f"CASE WHEN starts_with({url}, '{scheme}://') THEN {bucket} "
            f"WHEN starts_with({url}, '{other}://') THEN CASE {bucket} {cases} END END"
        )
        places[f"{cloud}_bucket"] = name
        places[f"{cloud}_url"] = f"'{scheme}://' || {name} || '/' || {key}"
        places[f"series_{cloud}_url"] = f"'{scheme}://' || {name} || '/' || {folder}"
    return places
