"""Selections of idc-index's own table and of Parquet files of one's own."""

from itertools import pairwise

import idc_index_data
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from checkout import ROOT

from harvester.catalog import database, open_catalog
from harvester.config import CrawlConfig, load
from harvester.errors import ConfigError, SelectionError
from harvester.model import ObjectRef, SeriesTotals, Summary

CONFIGS = ROOT / "configs"

needs_release_25 = pytest.mark.skipif(
    idc_index_data.__version__ != "25.0.5", reason="the numbers are those of idc-index-data 25.0.5"
)


def crawl(select=None, source=None) -> CrawlConfig:
    return CrawlConfig.model_validate({"dataset": "d", "select": select or {}, "source": source or {}})


def complaint(config: CrawlConfig, kind=SelectionError) -> str:
    with pytest.raises(kind) as caught:
        open_catalog(config)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def own(tmp_path):
    """A catalog of one's own: two CT series and an SM series, with the columns given."""

    def write(**columns) -> dict[str, str]:
        path = tmp_path / "own.parquet"
        pq.write_table(pa.table(columns), path)
        return {"catalog": str(path)}

    return write


THREE = {
    "crdc_series_uuid": ["b", "a", "c"],
    "aws_bucket": ["bucket"] * 3,
    "Modality": ["CT", "CT", "SM"],
    "instanceCount": [2, 3, 4],
    "series_size_MB": [0.5, 1.25, 1000.0],
}


@needs_release_25
def test_all_slide_microscopy_of_idc_is_49_terabytes():
    with open_catalog(load(CONFIGS / "idc-sm.toml")) as catalog:
        total = catalog.summary().total
    assert (total.series, total.instances, total.uncounted) == (76_300, 391_939, 0)
    assert total.size == pytest.approx(49.03e12, rel=1e-3)


@needs_release_25
def test_all_of_idc_is_counted_without_being_listed():
    with open_catalog(crawl()) as catalog:
        summary = catalog.summary()
        assert catalog.release == 25
    assert (summary.total.series, summary.total.instances) == (1_044_191, 58_784_975)
    assert summary.by_modality["CT"].instances == 40_306_450
    assert summary.by_collection["nlst"].series > 203_000


@needs_release_25
def test_one_collections_ct_is_what_its_configuration_says():
    with open_catalog(load(CONFIGS / "idc-ct-collection.toml")) as catalog:
        assert catalog.summary().groups.keys() == {("lidc_idri", "CT")}
        total = catalog.summary().total
    assert (total.series, total.instances) == (1018, 243_958)


def test_series_come_sorted_and_add_up_to_the_summary():
    with open_catalog(crawl({"collection_id": ["qin_lung_ct", "lungct_diagnosis"]})) as catalog:
        series = list(catalog.series())
        assert Summary.of(series) == catalog.summary()
        assert list(catalog.series(5)) == series[:5]
    places = [(one.collection_id, one.modality, one.key) for one in series]
    assert all(before < after for before, after in pairwise(places))
    assert {one.idc_version for one in series} == {catalog.release}


def test_two_readers_of_one_catalog_do_not_disturb_each_other():
    with open_catalog(crawl({"collection_id": "lidc_idri"})) as catalog:
        pairs = list(zip(catalog.series(), catalog.series(), strict=True))
    assert len(pairs) > 8192
    assert all(left == right for left, right in pairs)


@pytest.mark.parametrize("read", ["series", "outlines", "studies"])
def test_a_reader_of_a_closed_catalog_gets_an_error_and_no_rows(own, read):
    columns = THREE | {"StudyInstanceUID": ["1", "2", "3"]}
    with open_catalog(crawl(source=own(**columns))) as catalog:
        rows = getattr(catalog, read)()
        next(rows)
    with pytest.raises(SelectionError, match="closed while it was read"):
        list(rows)
    with pytest.raises(SelectionError, match="closed while it was read"):
        catalog.bucket_totals()


def test_a_series_lies_at_both_clouds_under_their_own_bucket_names():
    select = {"aws_bucket": "idc-open-data-two", "collection_id": "acrin_nsclc_fdg_pet"}
    with open_catalog(crawl(select, {"provider": "gcs"})) as catalog:
        (series,) = catalog.series(1)
    key = f"{series.crdc_series_uuid}/"
    assert series.prefixes == (
        ObjectRef("idc-open-idc1", key, "gs"),
        ObjectRef("idc-open-data-two", key, "s3"),
    )
    with open_catalog(crawl(select, {"provider": "gcs", "failover": False})) as catalog:
        assert next(catalog.series(1)).prefixes == (ObjectRef("idc-open-idc1", key, "gs"),)


def test_all_of_a_selection_must_hold():
    select = {
        "collection_id": ["nlst", "lidc_idri"],
        "Modality": ["CT", "SM"],
        "where": "instanceCount > 300",
    }
    with open_catalog(crawl(select)) as catalog:
        series = list(catalog.series())
    assert {one.collection_id for one in series} == {"nlst", "lidc_idri"}
    assert all(one.modality in ("CT", "SM") and (one.instance_count or 0) > 300 for one in series)


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        (
            {"collection_id": ["nlst", "lidc-idri"]},
            "select.collection_id: 'lidc-idri' is in no row; did you mean lidc_idri",
        ),
        ({"collection_id": ["NLST"]}, "did you mean nlst"),
        ({"modality": "CT"}, "select.modality: idc-index-data"),
        ({"modality": "CT"}, "no such column; did you mean Modality?"),
        ({"manfest": "x"}, "did you mean manifest?"),
        (
            {"instanceCount": "many"},
            "select.instanceCount: 'many' cannot be compared with a column of bigint",
        ),
        (
            {"SeriesInstanceUID": ["1.2", "1.3"]},
            "select.SeriesInstanceUID: '1.2' and 1 more values are in no row",
        ),
        ({"collection_id": "nlst", "Modality": "MG"}, "satisfies collection_id and Modality"),
        ({"where": "instanceCount < 0"}, "satisfies where"),
        ({"where": "Modalty = 'CT'"}, 'select.where: Binder Error: Referenced column "Modalty" not found'),
        ({"where": "Modalty = 'CT'"}, '"Modality"'),
        ({"where": "SeriesDescription"}, "select.where: Conversion Error"),
    ],
)
def test_a_selection_that_cannot_be_met_says_which_key_and_what_is_nearest(select, expected):
    assert expected in complaint(crawl(select))


def test_the_configurations_file_is_named(tmp_path):
    path = tmp_path / "crawl.toml"
    path.write_text('dataset = "d"\n[select]\ncollection_id = "nlts"')
    assert complaint(load(path)).startswith(f"{path}: select.collection_id: 'nlts'")


@pytest.mark.parametrize(
    "where",
    [
        "true; DROP VIEW catalog",
        "true) UNION SELECT 1 --",
        "true, false",
        "EXISTS (FROM read_text('/etc/hostname'))",
        "EXISTS (FROM read_csv('/etc/hostname'))",
        "EXISTS (FROM '/etc/hostname')",
        "EXISTS (FROM glob('/*'))",
        "EXISTS (FROM read_parquet('http://127.0.0.1:9/x.parquet'))",
        "EXISTS (FROM where)",
        "(SET enable_external_access = true)",
        "Modality = $1",
        "COUNT(*) > 1",
        "/* no end",
    ],
)
def test_where_is_one_expression_and_reaches_nothing_but_the_catalog(own, where):
    assert "select.where" in complaint(crawl({"where": where}, own(**THREE)))


def test_where_that_never_ends_is_stopped(own, monkeypatch):
    monkeypatch.setattr(database, "MAX_QUERY_SECONDS", 0.2)
    endless = "(SELECT SUM(a.range * b.range) FROM range(10000000) a, range(10000000) b) > instanceCount"
    assert "select.where: takes too long" in complaint(crawl({"where": endless}, own(**THREE)))


def test_text_in_a_value_is_never_sql(own):
    catalog = own(**{**THREE, "Modality": ["CT'; DROP", 'a"b', "%"]})
    for value in ("CT'; DROP", 'a"b', "%"):
        with open_catalog(crawl({"Modality": value}, catalog)) as opened:
            assert [one.modality for one in opened.series()] == [value]


def test_a_column_may_have_any_name(own):
    odd = 'odd " name; --'
    with open_catalog(crawl({odd: 2}, own(**THREE, **{odd: [1, 2, 3]}))) as catalog:
        assert [one.key for one in catalog.series()] == ["a"]


def test_numbers_and_booleans_select_by_value(own):
    source = own(**THREE, public=[True, False, True], score=[0.5, 1.0, 2.0])
    with open_catalog(crawl({"public": True, "score": [0.5, 1]}, source)) as catalog:
        assert [one.key for one in catalog.series()] == ["b"]


def test_a_catalog_of_ones_own_needs_only_a_place(own):
    with open_catalog(crawl(source=own(series_aws_url=["s3://bucket/x/*", "s3://bucket/y/z/"]))) as catalog:
        assert catalog.summary().total == SeriesTotals(series=2, uncounted=2)
        series = list(catalog.series())
    assert [one.prefixes[0] for one in series] == [ObjectRef("bucket", "x/"), ObjectRef("bucket", "y/z/")]
    assert {(one.collection_id, one.modality, one.crdc_series_uuid) for one in series} == {(None, None, None)}


def test_a_catalog_of_ones_own_is_counted_in_bytes(own):
    with open_catalog(crawl(source=own(**THREE))) as catalog:
        assert catalog.summary().by_modality == {
            "CT": SeriesTotals(series=2, instances=5, size=1_750_000),
            "SM": SeriesTotals(series=1, instances=4, size=1_000_000_000),
        }
        assert [one.key for one in catalog.series()] == ["a", "b", "c"]
        assert catalog.release is None


def test_counts_that_make_no_sense_are_unknown(own):
    columns = {**THREE, "instanceCount": [-1, None, 4], "series_size_MB": [float("nan"), -3.0, float("inf")]}
    with open_catalog(crawl(source=own(**columns))) as catalog:
        assert catalog.summary().total == SeriesTotals(series=3, instances=4, size=0, uncounted=2)
        assert all(one.size is None for one in catalog.series())


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"Modality": ["CT"]}, "has neither the column series_aws_url nor aws_bucket and crdc_series_uuid"),
        ({"series_aws_url": ["s3://b/x/*", None]}, "1 of the selected rows have neither"),
        ({"series_aws_url": ["s3://b/x/*", "s3://b/x/*"]}, "names series 's3://b/x/*' more than once"),
    ],
)
def test_a_catalog_that_cannot_say_where_series_lie_is_refused(own, columns, expected):
    assert expected in complaint(crawl(source=own(**columns)), (ConfigError, SelectionError))


@pytest.mark.parametrize(
    "place", ["http://host/x/*", "s3://host@evil/x/*", "s3://b/*", "s3://b/x/*/y/*", "../x", "s3:///x/*"]
)
def test_a_row_whose_place_is_no_folder_in_a_bucket_is_refused(own, place):
    catalog = open_catalog(crawl(source=own(series_aws_url=[place])))
    with catalog, pytest.raises(SelectionError, match="series_aws_url"):
        list(catalog.series())


@pytest.mark.parametrize(
    ("folder", "way_out"),
    [("http://pacs.example/dir/", "list the URLs of its objects"), ("s3://bucket/dir/", "select.prefixes")],
)
def test_a_folder_in_a_list_of_urls_is_told_where_it_belongs(tmp_path, folder, way_out):
    (tmp_path / "urls.txt").write_text(f"{folder}\n")
    config = crawl({"urls": str(tmp_path / "urls.txt")}, {"catalog": "listing"})
    assert way_out in complaint(config, ConfigError)
