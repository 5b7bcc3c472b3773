"""Manifests as the IDC portal and idc-index write them, of both clouds, current and former series."""

import idc_index_data
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from checkout import ROOT

from harvester.catalog import open_catalog
from harvester.catalog.manifest import read_manifest
from harvester.catalog.parquet_source import find_parquet
from harvester.config import CrawlConfig, load
from harvester.errors import ConfigError, SelectionError
from harvester.model import ObjectRef

CONFIGS = ROOT / "configs"
A = "33592cff-cd96-4b83-a167-fc757a88c9b4"
B = "0003a1c4-6f30-4275-a176-34a3ca79384a"
CT = "000009a8-6fb2-479f-bc17-d5bfe559703d"  # in no manifest
UNKNOWN = "ffffffff-ffff-4fff-8fff-ffffffffffff"


@pytest.fixture(scope="module")
def few_series(tmp_path_factory):
    """The series as the installed release has them, and one of the earlier releases: quick to open."""
    folder = tmp_path_factory.mktemp("release")
    named = pc.field("crdc_series_uuid").isin([A, B, CT])
    whole = pq.read_table(idc_index_data.IDC_INDEX_PARQUET_FILEPATH, filters=named)
    assert whole.num_rows == 3
    prior = next(pq.ParquetFile(idc_index_data.PRIOR_VERSIONS_INDEX_PARQUET_FILEPATH).iter_batches(1))
    pq.write_table(whole, folder / "index.parquet")
    pq.write_table(pa.Table.from_batches([prior]), folder / "prior.parquet")
    return folder


@pytest.fixture
def manifest(tmp_path, few_series, monkeypatch):
    monkeypatch.setattr(idc_index_data, "IDC_INDEX_PARQUET_FILEPATH", few_series / "index.parquet")
    monkeypatch.setattr(idc_index_data, "PRIOR_VERSIONS_INDEX_PARQUET_FILEPATH", few_series / "prior.parquet")

    def write(*lines: str, **select) -> CrawlConfig:
        path = tmp_path / "cohort.s5cmd"
        path.write_text("\n".join(lines))
        return CrawlConfig.model_validate({"dataset": "d", "select": {"manifest": str(path), **select}})

    return write


def keys(config: CrawlConfig) -> list[str]:
    with open_catalog(config) as catalog:
        return [series.key for series in catalog.series()]


@pytest.mark.parametrize(
    "line",
    [
        f"cp s3://idc-open-data-two/{B}/* .",
        f"cp s3://idc-open-idc1/{B}/* .",
        f'cp "s3://idc-open-data-two/{B}/*" "./folder with \\"quotes\\""',
        f"cp 's3://idc-open-data-two/{B}/*' C:\\data",
        f"cp --concurrency 3 -n s3://idc-open-data-two/{B}/* out/",
        f"sync s3://idc-open-data-two/{B}/* .",
        f"s3://idc-open-data-two/{B}/*",
        f"gs://idc-open-idc1/{B}/",
    ],
)
def test_a_line_names_a_series_however_it_is_written(tmp_path, line):
    path = tmp_path / "cohort.s5cmd"
    path.write_text(f"# a comment\n\n{line}\n")
    (series,) = read_manifest(path, ("aws",))
    assert (series.key, series.uuid, series.objects) == (B, B, ())


def test_a_series_of_a_manifest_is_that_of_the_catalog(manifest):
    with open_catalog(manifest(f"cp s3://idc-open-data-two/{B}/* .")) as catalog:
        (series,) = catalog.series()
    assert (series.key, series.crdc_series_uuid, series.collection_id) == (B, B, "acrin_nsclc_fdg_pet")
    assert series.prefixes == (
        ObjectRef("idc-open-data-two", f"{B}/", "s3"),
        ObjectRef("idc-open-idc1", f"{B}/", "gs"),
    )
    assert series.instance_count is not None


def test_a_series_named_twice_is_selected_once(manifest):
    both = manifest(f"cp s3://idc-open-idc1/{B}/* .", f"cp s3://idc-open-data-two/{B}/* .")
    assert keys(both) == [B]


def test_the_shipped_cohort_is_known_to_the_catalog():
    with open_catalog(load(CONFIGS / "idc-manifest.toml")) as catalog:
        total = catalog.summary().total
    assert (total.series, total.uncounted) == (9, 0)


def test_the_rest_of_the_selection_holds_too(manifest):
    lines = (
        f"cp s3://idc-open-data/{A}/* .",
        f"cp s3://idc-open-data-two/{B}/* .",
        f"cp s3://idc-open-data/{UNKNOWN}/* .",
    )
    assert keys(manifest(*lines, Modality="SM")) == [A]
    assert keys(manifest(*lines, where="Modality = 'PT'")) == [B]
    with pytest.raises(SelectionError, match="satisfies Modality and manifest"):
        open_catalog(manifest(*lines, Modality="CT"))


def test_a_series_of_an_earlier_release_is_still_known(manifest):
    prior = find_parquet(CrawlConfig(dataset="d")).prior_versions
    row = pq.read_table(prior).slice(0, 1).to_pylist()[0]
    line = f"cp s3://{row['gcs_bucket']}/{row['crdc_series_uuid']}/* ."
    with open_catalog(manifest(line)) as catalog:
        (series,) = catalog.series()
        assert catalog.summary().total.uncounted == 1  # earlier releases' index counts no instances
    assert series.collection_id == row["collection_id"]
    assert series.series_instance_uid == row["SeriesInstanceUID"]
    assert series.idc_version is not None
    assert series.idc_version < catalog.release


def test_a_series_that_no_release_knows_is_read_by_its_place(manifest):
    with open_catalog(manifest(f"cp s3://idc-open-cr/{UNKNOWN}/* .")) as catalog:
        (series,) = catalog.series()
    assert (series.key, series.collection_id, series.instance_count) == (UNKNOWN, None, None)
    assert series.prefixes[0] == ObjectRef("idc-open-data-cr", f"{UNKNOWN}/", "s3")


def test_a_folder_of_another_bucket_is_no_series_of_idc(manifest):
    with open_catalog(manifest(f"cp s3://mine/{B}/* .", "cp gs://mine/deep/er/* .")) as catalog:
        mine, deeper = sorted(catalog.series(), key=lambda series: series.prefixes[0].scheme, reverse=True)
    assert (mine.key, mine.crdc_series_uuid, mine.collection_id) == (f"s3://mine/{B}/", None, None)
    assert deeper.prefixes == (ObjectRef("mine", "deep/er/", "gs"),)


def test_single_objects_stay_single_and_learn_of_their_series(manifest):
    config = manifest(f"cp s3://idc-open-idc1/{B}/x.dcm .", f"cp s3://idc-open-idc1/{B}/y.dcm .")
    with open_catalog(config) as catalog:
        (series,) = catalog.series()
        assert catalog.summary().total.instances == 2
    assert [listed.ref.url for listed in series.objects] == [
        f"s3://idc-open-data-two/{B}/x.dcm",
        f"s3://idc-open-data-two/{B}/y.dcm",
    ]
    assert (series.prefixes, series.modality, series.crdc_series_uuid) == ((), "PT", B)
    fewer = keys(manifest(f"cp s3://idc-open-idc1/{B}/x.dcm ."))
    assert fewer != [series.key]


def test_an_object_of_a_series_that_is_named_whole_adds_nothing(manifest):
    config = manifest(f"cp s3://idc-open-idc1/{B}/x.dcm .", f"cp s3://idc-open-data-two/{B}/* .")
    with open_catalog(config) as catalog:
        assert [(series.key, series.objects) for series in catalog.series()] == [(B, ())]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cp here there", "cohort.s5cmd:2: 'cp here there' names no object in a bucket"),
        ('cp "s3://b/x/* .', "cohort.s5cmd:2: No closing quotation"),
        ("cp s3://b/x/*.dcm .", "only a closing * is supported"),
        ("cp s3://b/* .", "names a whole bucket"),
        ("cp s3://b@evil/x/* .", "is not a valid bucket name"),
        ("x" * 20_000, "cohort.s5cmd:2: too long for a list of objects"),
    ],
)
def test_a_line_that_cannot_be_followed_is_named(manifest, line, expected):
    with pytest.raises(ConfigError) as caught:
        open_catalog(manifest("# first", line))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_manifest_of_comments_selects_nothing(manifest):
    with pytest.raises(SelectionError, match=r"select\.manifest: .* names no series"):
        open_catalog(manifest("# nothing"))


def test_a_long_manifest_is_read_in_no_time(tmp_path):
    path = tmp_path / "long.s5cmd"
    path.write_text("".join(f"cp s3://idc-open-data/{number:08x}{A[8:]}/* .\n" for number in range(50_000)))
    assert len(read_manifest(path, ("aws",))) == 50_000
