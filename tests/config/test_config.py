"""What a crawl's TOML file may say, and what is said of one that cannot be used."""

import pickle
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from checkout import ROOT

from harvester.config import CrawlConfig, config_from, load
from harvester.errors import ConfigError

CONFIGS = ROOT / "configs"


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write_and_load(text: str) -> CrawlConfig:
        Path("crawl.toml").write_text(text)
        return load(Path("crawl.toml"))

    return write_and_load


def complaint(write, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        write(text)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("crawl.toml: ")
    return message.removeprefix("crawl.toml: ")


def test_a_dataset_alone_is_a_crawl_of_all_of_idc(write):
    config = write('dataset = "out"')
    assert config.source.catalog == "idc"
    assert config.source.providers == ("aws", "gcs")
    assert not config.select.columns
    assert config.limits.max_header_bytes == 64 * 1024 * 1024


def test_everything_in_the_contract_is_read(write):
    Path("cohort.s5cmd").touch()
    config = write(
        """
        dataset = "s3://bucket/lung"
        [source]
        catalog = "idc"
        provider = "gcs"
        failover = true
        endpoint = "http://127.0.0.1:9000/"
        [select]
        collection_id = ["nlst", "lidc_idri"]
        Modality = "CT"
        instanceCount = 3
        SeriesDate = 1999-01-02
        where = "SeriesDescription ILIKE '%lung%'"
        manifest = "cohort.s5cmd"
        [limits]
        processes = 2
        concurrency = 8
        requests_per_second = 100
        """
    )
    assert config.dataset == "s3://bucket/lung"
    assert config.source.providers == ("gcs", "aws")
    assert config.source.endpoint == "http://127.0.0.1:9000"
    assert config.select.columns == {
        "collection_id": ("nlst", "lidc_idri"),
        "Modality": ("CT",),
        "instanceCount": (3,),
        "SeriesDate": ("1999-01-02",),
    }
    assert config.select.manifest == str(Path("cohort.s5cmd").resolve())
    assert (config.limits.processes, config.limits.concurrency, config.limits.requests_per_second) == (
        2,
        8,
        100,
    )


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(["CT", "MR"]),
        pl.Series(["CT", "MR"]),
        pa.chunked_array([["CT"], ["MR"]]),
        np.array(["CT", "MR"]),
        {"CT": 1, "MR": 2}.keys(),
    ],
    ids=lambda column: type(column).__module__,
)
def test_a_column_of_a_table_is_a_list(column):
    assert config_from(None, {"dataset": "d", "Modality": column}).select.columns["Modality"] == ("CT", "MR")


def test_an_endpoint_is_read_alone_unless_failover_is_asked_for(write):
    alone = 'dataset = "d"\n[source]\nendpoint = "http://localhost:1"\nprovider = "gcs"'
    assert write(alone).source.providers == ("gcs",)
    assert write(alone + "\nfailover = true").source.providers == ("gcs", "aws")


def test_a_list_of_providers_is_the_order_in_which_they_are_tried(write):
    listed = 'dataset = "d"\n[source]\nfailover = false\nprovider = ["gcs", "aws"]'
    assert write(listed).source.providers == ("gcs", "aws")


def test_a_root_or_addresses_say_which_catalog_is_meant(write):
    assert write('dataset = "d"\n[select]\nroot = "."').source.catalog == "local"
    assert write('dataset = "d"\n[select]\nprefixes = "s3://b/p/"').source.catalog == "listing"


def test_a_configuration_survives_the_way_to_another_process(write):
    config = write('dataset = "d"\n[select]\nModality = ["CT"]')
    copy = pickle.loads(pickle.dumps(config))
    assert copy == config
    assert copy.path == config.path == Path("crawl.toml")


def test_a_path_beside_the_file_goes_before_one_here(tmp_path, monkeypatch):
    beside, here = tmp_path / "beside", tmp_path / "here"
    for folder in (beside, here):
        folder.mkdir()
        (folder / "both.s5cmd").touch()
    (here / "only_here.s5cmd").touch()
    monkeypatch.chdir(here)
    for name, folder in (("both.s5cmd", beside), ("only_here.s5cmd", here)):
        (beside / "crawl.toml").write_text(f'dataset = "d"\n[select]\nmanifest = "{name}"')
        config = load(beside / "crawl.toml")
        assert config.select.manifest == str(folder / name)
        assert config.dataset == "d"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('dataset = "d"\n[selct]\n', "selct: unknown key; did you mean select?"),
        (
            'dataset = "d"\n[limits]\nconcurency = 3',
            "limits.concurency: unknown key; did you mean concurrency?",
        ),
        ('dataset = "d"\n[source]\nroot = "x"', "source.root: unknown key; it belongs to [select]"),
        (
            'dataset = "d"\n[select]\nx = 1\n[limits]\ncatalog = "x"',
            "limits.catalog: unknown key; it belongs to [source]",
        ),
        ('dataset = "d"\npath = "x"', "path: unknown key; valid: dataset, source, select, limits"),
        ("[select]\n", "dataset: missing"),
        ('dataset = "d"\n[limits]\nhedged = true', "limits.hedged: unknown key; did you mean hedge?"),
        (
            'dataset = "d"\n[limits]\nhedge = 1',
            "limits.hedge: expected true or false, not 1",
        ),
        (
            'dataset = "d"\n[limits]\npatience_seconds = -1',
            "limits.patience_seconds: expected at least 0.0, not -1",
        ),
        (
            'dataset = "d"\n[limits]\nconcurrency = "3"',
            "limits.concurrency: expected a whole number, not '3'",
        ),
        (
            'dataset = "d"\n[limits]\nprocesses = true',
            "limits.processes: expected a whole number, not True",
        ),
        ('dataset = "d"\n[source]\nprovider = "aw"', "source.provider: 'aw' is not valid; did you mean aws?"),
        (
            'dataset = "d"\n[source]\nprovider = []',
            "source.provider: expected one or both of aws, gcs, each once",
        ),
        ('dataset = "d"\n[select]\nModality = []', "select.Modality: an empty list selects nothing"),
        (
            'dataset = "d"\n[select.Modality]\nis = "CT"',
            "select.Modality: expected a value or a list of values",
        ),
        ('dataset = "d"\n[select]\nwhere = " "', "select.where: is empty"),
        (
            'dataset = "d"\n[select]\nmanifest = "no.s5cmd"',
            "select.manifest: no such file or folder 'no.s5cmd'",
        ),
        ('dataset = "d"\n[source]\ncatalog = "lstng"', "did you mean listing?"),
        (
            'dataset = "d"\n[source]\ncatalog = "s3://b/c.parquet"',
            "source.catalog: 's3://b/c.parquet' has scheme 's3'",
        ),
        ('dataset = "d"\n[source]\ncatalog = "local"', "select.root: missing"),
        ('dataset = "d"\n[source]\ncatalog = "listing"', "needs select.urls or select.prefixes"),
        (
            'dataset = "d"\n[source]\ncatalog = "idc"\n[select]\nroot = "."',
            'root needs source.catalog = "local"',
        ),
        (
            'dataset = "d"\n[select]\nroot = "."\nModality = "CT"',
            "select.Modality: source.catalog = 'local' has no",
        ),
        ('dataset = "ftp://b/c"', "dataset: 'ftp://b/c' is not a directory"),
        ('dataset = "d', "not TOML: Unterminated string"),
        ('dataset = "a"\nselect = = 3\n', "(at line 2"),
        (
            'dataset = "a"\n[select]\nModality = ["CT"\n[limits]\n',
            "a list has both brackets, as in [1, 2] (line 3: ",
        ),
    ],
)
def test_one_line_says_which_key_is_wrong_and_what_would_be_right(write, text, expected):
    assert expected in complaint(write, text)


@pytest.mark.parametrize("table", ["source", "limits", "frames", "schedule"])
def test_the_keys_of_the_table_are_suggested(write, table):
    field = CrawlConfig.model_fields[table].annotation
    (model,) = (one for one in (field, *get_args(field)) if hasattr(one, "model_fields"))
    for key in model.model_fields:
        typed = key.replace("_", "") + "s"
        told = complaint(write, f'dataset = "d"\n[{table}]\n{typed} = 1')
        assert f"{table}.{typed}: unknown key; did you mean " in told
        assert key in told


@pytest.mark.parametrize(
    "endpoint",
    [
        "127.0.0.1:9000",
        "ftp://host",
        "http://",
        "http://host:99999",
        "http://u:p@host",
        "http://host/path",
        "http://[x",
    ],
)
def test_an_endpoint_is_a_scheme_a_host_and_a_port(write, endpoint):
    assert complaint(write, f'dataset = "d"\n[source]\nendpoint = "{endpoint}"').startswith(
        "source.endpoint: "
    )


def test_a_missing_file_names_its_neighbour(tmp_path):
    (tmp_path / "quickstart.toml").touch()
    with pytest.raises(ConfigError, match=r"quikstart.toml: no such file; did you mean .*quickstart.toml\?"):
        load(tmp_path / "quikstart.toml")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a = " + b"[" * 100_000])
def test_a_file_that_is_no_toml_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="TOML") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_configuration(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("[!a]*.toml")), ids=lambda path: path.stem)
def test_every_shipped_configuration_loads_from_anywhere(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load(path)
    assert not Path(config.dataset).is_absolute()
    assert config.limits.concurrency <= 256
