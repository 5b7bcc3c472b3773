import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.demo import DemoInstance
from harvester.demo.bucket import Bucket, Page, PageRequest, list_page

_texts = st.text(alphabet="ab/", max_size=4)


def _bucket(*keys: str) -> Bucket:
    return Bucket.of("bucket", {key: DemoInstance(key, "/nowhere", 0, 0) for key in keys})


def _all_pages(bucket: Bucket, wanted: PageRequest) -> list[Page]:
    pages, token = [], None
    for _ in range(100):
        page = list_page(bucket, PageRequest(wanted.prefix, wanted.delimiter, wanted.limit, token=token))
        assert page is not None
        pages.append(page)
        token = page.next_token
        if token is None:
            return pages
    raise AssertionError("the listing does not end")


@given(
    st.sets(_texts.filter(bool), max_size=12),
    _texts,
    st.sampled_from(["", "/", "b/", "a"]),
    st.integers(1, 4),
)
def test_pages_together_are_the_definition_of_a_listing(
    keys: set[str], prefix: str, delimiter: str, limit: int
) -> None:
    # ListObjectsV2: keys that start with the prefix; those with the delimiter behind it are rolled up.
    rolled = {
        key: key[: key.index(delimiter, len(prefix)) + len(delimiter)]
        for key in keys
        if delimiter and key.startswith(prefix) and delimiter in key[len(prefix) :]
    }
    pages = _all_pages(_bucket(*keys), PageRequest(prefix, delimiter, limit))
    assert [listed.key for page in pages for listed in page.objects] == sorted(
        key for key in keys if key.startswith(prefix) and key not in rolled
    )
    assert [common for page in pages for common in page.common_prefixes] == sorted(set(rolled.values()))
    assert all(len(page.objects) + len(page.common_prefixes) == limit for page in pages[:-1])


def test_a_listing_starts_after_a_key_that_need_not_exist() -> None:
    page = list_page(_bucket("a", "b", "d"), PageRequest(start_after="b"))
    assert page is not None
    assert [listed.key for listed in page.objects] == ["d"]
    page = list_page(_bucket("a", "b", "d"), PageRequest(start_after="c"))
    assert page is not None
    assert [listed.key for listed in page.objects] == ["d"]


@pytest.mark.parametrize("token", ["", "a", "!", "kÄ", "eA==", "/w==", "a2E"])
def test_a_token_that_was_never_given_is_refused(token: str) -> None:
    assert list_page(_bucket("a"), PageRequest(token=token)) is None


def test_a_page_of_no_objects_is_empty_and_the_last() -> None:
    assert list_page(_bucket("a"), PageRequest(limit=0)) == Page((), (), None)
