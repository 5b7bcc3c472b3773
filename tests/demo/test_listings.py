import json
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.demo import DemoInstance
from harvester.demo.listings import Bucket, Page, list_as_json, list_as_xml, list_page

S3 = "{http://s3.amazonaws.com/doc/2006-03-01/}"
_texts = st.text(alphabet="ab/", max_size=4)


def _bucket(*keys: str) -> Bucket:
    return Bucket.of("bucket", {key: DemoInstance(key, "/nowhere", 0, 0) for key in keys})


def _all_pages(bucket: Bucket, prefix: str, delimiter: str, limit: int) -> list[Page]:
    pages, token = [], ""
    for _ in range(100):
        page = list_page(bucket, prefix, delimiter, token, limit)
        pages.append(page)
        if page.next_token is None:
            return pages
        token = page.next_token
    raise AssertionError("the listing does not end")


@given(
    st.sets(_texts.filter(bool), max_size=12),
    _texts,
    st.sampled_from(["", "/", "b/", "a"]),
    st.integers(1, 4),
)
def test_the_pages_of_a_listing_hold_each_key_or_its_common_prefix_once(
    keys: set[str], prefix: str, delimiter: str, limit: int
) -> None:
    # ListObjectsV2: keys that start with the prefix; those with the delimiter behind it are rolled up.
    rolled = {
        key: key[: key.index(delimiter, len(prefix)) + len(delimiter)]
        for key in keys
        if delimiter and key.startswith(prefix) and delimiter in key[len(prefix) :]
    }
    pages = _all_pages(_bucket(*keys), prefix, delimiter, limit)
    assert [listed.key for page in pages for listed in page.objects] == sorted(
        key for key in keys if key.startswith(prefix) and key not in rolled
    )
    assert [common for page in pages for common in page.common_prefixes] == sorted(set(rolled.values()))
    assert all(len(page.objects) + len(page.common_prefixes) == limit for page in pages[:-1])


@pytest.mark.parametrize("after", ["b", "c"])
def test_a_page_starts_after_a_key_that_may_be_missing(after: str) -> None:
    page = list_page(_bucket("a", "b", "d"), "", "", after, 1000)
    assert [listed.key for listed in page.objects] == ["d"]


def test_a_page_of_no_entries_is_the_last() -> None:
    assert list_page(_bucket("a"), "", "", "", 0) == Page((), (), None)


def test_a_page_holds_at_most_a_thousand_keys() -> None:
    bucket = _bucket(*(f"{number:04}" for number in range(1001)))
    first = ET.fromstring(list_as_xml(bucket, {"max-keys": "5000"}))
    assert (first.findtext(S3 + "KeyCount"), first.findtext(S3 + "IsTruncated")) == ("1000", "true")
    token = first.findtext(S3 + "NextContinuationToken") or ""
    second = ET.fromstring(list_as_xml(bucket, {"continuation-token": token}))
    assert [entry.findtext(S3 + "Key") for entry in second.iter(S3 + "Contents")] == ["1000"]
    assert second.findtext(S3 + "IsTruncated") == "false"
    page = json.loads(list_as_json(bucket, {"maxResults": "5000"}))
    assert len(page["items"]) == 1000
    assert (
        json.loads(list_as_json(bucket, {"pageToken": page["nextPageToken"]}))["items"][0]["name"] == "1000"
    )
