"""The metadata equals that of pydicom, in as few requests as possible."""

import asyncio
import pickle

import pydicom
import pytest
from header_feeding import CORPUS, inventory, needs_corpus
from made_part10 import element, part10
from memory_store import MemoryStore
from recorded_demo import recorded_demo

import harvester
from harvester.errors import ConfigError, ListingError, NotDicomError, NotFoundError, SelectionError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

URL = "s3://bucket/one.dcm"
CT = pydicom.data.get_testdata_file("CT_small.dcm")
SERIES = "1.3.6.1.4.1.5962.1.3.1.1.20040119072730.12322"


def readable():
    odd = ("no_preamble_dicm_in_data", "only_132", "bad.dcm", "cut_in_", "truncated")
    return [name for name in inventory() if not any(part in name for part in odd)]


@needs_corpus
@pytest.mark.parametrize("name", readable()[::3])
def test_the_metadata_is_what_pydicom_reads(name):
    path = CORPUS / name
    try:
        expected = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        read = harvester.read_header(str(path))
    except NotDicomError:
        pytest.skip("no DICOM by our measure")
    assert read == expected
    assert read.file_meta == expected.file_meta


@needs_corpus
@pytest.mark.parametrize(
    ("name", "requests"),
    [("generated/sm_tiled_full_3000f_neither.dcm", 1), ("generated/seg_binary_10seg_1000f.dcm", 2)],
)
def test_a_long_header_takes_two_requests_at_most(name, requests):
    raw = (CORPUS / name).read_bytes()
    store = MemoryStore({URL: raw})
    read = harvester.read_header(URL, store=store)
    assert read == pydicom.dcmread(CORPUS / name, stop_before_pixels=True)
    assert store.requests == requests


def test_only_the_named_attributes_are_there():
    read = harvester.read_header(CT, ["PatientName", 0x00080060])
    # pydicom reads the character set along with a name.
    assert {element.keyword for element in read} == {"Modality", "PatientName", "SpecificCharacterSet"}
    assert read.PatientName == "CompressedSamples^CT1"


def test_a_long_value_that_is_not_wanted_is_not_read():
    raw = part10(
        element(0x00080060, "CS", b"SR"),
        element(0x00091010, "OB", bytes(10_000_000)),
        element(0x00100010, "PN", b"A^B "),
    )
    store = MemoryStore({URL: raw})
    assert harvester.read_header(URL, ["PatientName"], store=store).PatientName == "A^B"
    assert store.bytes_fetched < 1_000_000


def test_an_unknown_keyword_is_an_error_that_names_the_nearest():
    with pytest.raises(ConfigError, match=r"PatientsName.*PatientName"):
        harvester.read_header(CT, ["PatientsName"])


def test_many_headers_come_in_the_order_of_their_addresses():
    store = MemoryStore()
    urls = [f"s3://bucket/{number:03d}.dcm" for number in range(100)]
    for number, url in enumerate(urls):
        store.put(url, part10(element(0x00200013, "IS", f"{number:04d}".encode())))
    headers = harvester.read_headers(urls, store=store)
    assert [header.InstanceNumber for header in headers] == list(range(100))
    assert store.requests == 100


def test_one_missing_object_is_an_error():
    store = MemoryStore({URL: part10(element(0x00200013, "IS", b"1 "))})
    with pytest.raises(NotFoundError, match="two"):
        harvester.read_headers([URL, "s3://bucket/two.dcm"], store=store)


def test_an_object_that_is_not_dicom_is_an_error():
    with pytest.raises(NotDicomError):
        harvester.read_header(URL, store=MemoryStore({URL: b"no DICOM" * 50}))


def test_a_header_can_be_pickled():
    read = harvester.read_header(CT)
    assert pickle.loads(pickle.dumps(read)) == read


def test_a_series_is_found_by_its_uid_in_one_listing():
    with recorded_demo() as demo:
        how = {"catalog": demo.address.catalog_url, "endpoint": demo.address.endpoint}
        on_aws = harvester.series_urls(SERIES, **how)
        assert len(demo.listings) == 1
        on_google = harvester.series_urls(SERIES, "gcs", **how)
        folder = on_aws[0].split("/")[3]
        assert harvester.series_urls(folder, **how) == on_aws
        assert asyncio.run(harvester.aseries_urls(SERIES, **how)) == on_aws
        assert [url.split("/", 3)[3] for url in on_google] == [url.split("/", 3)[3] for url in on_aws]
        assert on_aws[0].startswith("s3://")
        assert on_google[0].startswith("gs://")
        headers = harvester.read_headers(on_aws, ["SeriesInstanceUID"], endpoint=demo.address.endpoint)
        assert {header.SeriesInstanceUID for header in headers} == {SERIES}
        with pytest.raises(SelectionError):
            harvester.series_urls("1.2.3", **how)
        with pytest.raises(ListingError):
            harvester.series_urls(SERIES, catalog=demo.address.catalog_url, store=MemoryStore())
