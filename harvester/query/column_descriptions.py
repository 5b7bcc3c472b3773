"""What the tables and columns of a dataset mean: from DICOM's dictionary, the release and the harvest."""

from collections.abc import Mapping
from functools import cache
from typing import Final

from pydicom.datadict import dictionary_description

from harvester.catalog.release import index_tables
from harvester.query.derived_tables import DERIVED
from harvester.query.dictionary import attributes_by_keyword
from harvester.query.idc_tables import DERIVED_TABLES

_TABLES: Final = {
    "instances": "One row for each DICOM instance; one column for each attribute, named by its keyword.",
    "frames": "One row for each instance with a frame index: where each frame lies in the object.",
    "failures": "One row for each object that could not be harvested, and why.",
    "series": "One row for each series: what its instances have in common, their number and size.",
    "studies": "One row for each study.",
    "index": "The table idc_index, under its name in idc-index.",
    "dicom_all": "IDC's table in BigQuery: instances with both clouds' URLs, licence, DOI and collection.",
    "dicom_derived_all": "One row for each instance, segment and measured segment, for the IDC portal.",
    "dicom_pivot": "The rows of dicom_derived_all with more attributes that the IDC portal filters by.",
    "dicom_metadata": "The same columns as dicom_all.",
    "dicom_metadata_curated": "SliceThickness and BodyPartExamined of each instance, as IDC curated them.",
    "auxiliary_metadata": "URLs, licence, DOI and collection of each instance, without the attributes.",
    "segmentations": "One row for each segment of a segmentation.",
    "measurement_groups": "One row for each measurement group of a TID 1500 report.",
    "quantitative_measurements": "One row for each measurement of a TID 1500 report, with its unit.",
    "qualitative_measurements": "One row for each evaluation of a TID 1500 report.",
    "dicom_metadata_curated_series_level": "Pixel spacing, matrix and specimen preparation of each series.",
    "original_collections_metadata": "One row for each collection of the installed release.",
    "analysis_results_metadata": "One row for each analysis result of the installed release.",
}
_HARVEST: Final = {
    "collection_id": "collection, as in the catalog",
    "instance_url": "address of the object",
    "instance_size": "size of the object",
    "etag": "entity tag of the object when it was read",
    "crdc_series_uuid": "IDC's identifier of this version of the series",
    "crdc_instance_uuid": "IDC's identifier of this version of the instance",
    "idc_version": "IDC release that was harvested",
    "preamble": "the first 128 bytes: none, zero, tiff or other",
    "header_bytes": "offset of the pixel data element, or the size of an object without one",
    "pixel_data_offset": "offset of the pixel data's value",
    "pixel_data_keyword": "which pixel data element there is",
    "encapsulated": "whether pixel data is encapsulated (compressed)",
    "basic_offset_table": "whether encapsulated pixel data has a basic offset table with entries",
    "extended_offset_table": "whether there is an extended offset table",
    "requests": "requests that the harvest made for the object",
    "bytes_fetched": "bytes that the harvest read of the object",
    "harvested_at": "when it was read (UTC)",
    "harvester_version": "version of harvester that read it",
    "OtherElements": "private and unknown elements",
    "bulk_data": "binary values: where they lie in the object",
    "invalid_elements": "raw text of values that their column's type cannot hold",
    "empty_elements": "elements that are present without a value",
    "superseded_in": "release in which the object was replaced or withdrawn; NULL: it is current",
    "superseded_at": "when it was found replaced or withdrawn; NULL: it is current",
}


def table_description(table: str) -> str:
    """What the rows of a table are, in one sentence."""
    if table in _TABLES:
        return _TABLES[table]
    of_release = index_tables().get(table)
    return "" if of_release is None else of_release.description


def hidden_tables() -> tuple[str, ...]:
    """The tables that a query can read although `SHOW TABLES` does not list them."""
    return tuple(name for name in DERIVED_TABLES if name in DERIVED or name in index_tables())


@cache
def _columns_of_release(table: str) -> Mapping[str, str]:
    found = index_tables().get("idc_index" if table == "index" else table)
    return {} if found is None else {column.name: column.description for column in found.columns}


def column_description(table: str, column: str) -> str:
    """What a column holds: from the release's own schema, the harvest, or DICOM's dictionary."""
    described = _columns_of_release(table).get(column) or _HARVEST.get(column)
    if described:
        return described
    attribute = attributes_by_keyword().get(column.lower())
    if attribute is None:
        return ""
    return f"{dictionary_description(attribute.tag)} ({attribute.tag >> 16:04X},{attribute.tag & 0xFFFF:04X})"
