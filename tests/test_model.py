import pytest

from harvester.errors import ConfigError
from harvester.model import ObjectRef


@pytest.mark.parametrize(
    ("key", "stem"),
    [("series/one.dcm", "one"), ("one", "one"), ("a.b/one.two.dcm", "one.two"), (".dcm", ".dcm")],
)
def test_the_stem_is_the_file_name_without_its_extension(key, stem):
    assert ObjectRef("scans", key).stem == stem


@pytest.mark.parametrize(
    ("url", "written"),
    [
        ("https://host/a/b.dcm", "https://host/a/b.dcm"),
        ("https://host/a b?c=%2B", "https://host/a%20b?c=%2B"),
        ("https://host/100%", "https://host/100%25"),
        ("https://host/ü", "https://host/%C3%BC"),
        ("s3://scans/a b%", "s3://scans/a b%"),
        ("/a b/c", "file:///a%20b/c"),
        ("a b/c", "a b/c"),
        ("file://localhost/a/c", "file:///a/c"),
    ],
)
def test_an_address_is_written_as_it_can_be_read_again(url, written):
    ref = ObjectRef.parse(url)
    assert ref.url == written
    assert ObjectRef.parse(written).url == written


@pytest.mark.parametrize("url", ["file://scans/a.dcm", "file://host", "file://", ""])
def test_a_file_has_a_path_and_no_host(url):
    with pytest.raises(
        ConfigError, match=r"expected (file:///PATH, or a path without file://|a URL or a path)"
    ):
        ObjectRef.parse(url)


@pytest.mark.parametrize(
    "url", ["az://scans/a.dcm", "abfss://scans@site.example/a.dcm", "wasbs://scans/a.dcm"]
)
def test_azure_is_refused_by_name_with_the_way_out(url):
    with pytest.raises(ConfigError, match=r"Azure Blob Storage is not supported; use an S3 gateway .* https"):
        ObjectRef.parse(url)
