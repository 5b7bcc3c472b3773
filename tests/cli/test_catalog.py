"""`harvester catalog`, `harvester sql` without a dataset, and manifests of their rows."""

import pytest
from checkout import ROOT

from harvester.catalog.manifest import read_manifest
from harvester.cli import catalog, sql
from harvester.errors import ConfigError, QueryError, SelectionError


def test_the_values_of_a_column_are_counted(capsys):
    catalog.command(values="Modality", where="collection_id = 'nlst'", form="csv")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Modality,series,instances,GB"
    assert {"CT", "SM"} <= {line.split(",")[0] for line in lines[1:]}


def test_the_columns_of_the_catalog_are_listed(capsys):
    catalog.command(where="collection_id = 'nlst'", form="csv")
    names = [line.split(",")[0] for line in capsys.readouterr().out.splitlines()]
    assert {"column", "collection_id", "Modality", "SeriesInstanceUID"} <= set(names)


def test_an_unknown_column_has_the_nearest_name():
    with pytest.raises(ConfigError, match="did you mean Modality"):
        catalog.command(values="Modalitty")


def test_a_selection_becomes_a_manifest_that_a_crawl_reads(tmp_path):
    manifest = tmp_path / "cohort.s5cmd"
    catalog.command(ROOT / "configs" / "idc-ct-collection.toml", output=manifest)
    series = read_manifest(manifest, ("aws",))
    assert len(series) == len(manifest.read_text().splitlines()) > 0


def test_no_series_is_an_error_not_an_empty_manifest(tmp_path):
    manifest = tmp_path / "cohort.s5cmd"
    with pytest.raises(SelectionError, match="no series is selected"):
        catalog.command(where="collection_id = 'nowhere'", output=manifest)
    assert not manifest.exists()


def test_sql_without_a_dataset_reads_the_release(tmp_path, capsys):
    query = "SELECT series_aws_url FROM idc_index WHERE collection_id = 'nlst' ORDER BY 1 LIMIT 3"
    sql.command(query, form="csv")
    urls = capsys.readouterr().out.splitlines()[1:]
    sql.command(query, output=tmp_path / "urls.txt")
    assert (tmp_path / "urls.txt").read_text().splitlines() == urls
    with pytest.raises(QueryError, match="series_aws_url"):
        sql.command("SELECT 1", output=tmp_path / "none.s5cmd")
