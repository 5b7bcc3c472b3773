import pytest

from harvester.errors import ListingError, ServerFaultError
from harvester.model import ListedObject, ObjectRef
from harvester.store.http.listing import (
    ListingPage,
    join_pages,
    parse_json_page,
    parse_xml_page,
)

PREFIX = ObjectRef("scans", "a/")


def document(contents: str = "", *, truncated: str = "false", more: str = "", declared: str = "") -> bytes:
    namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{declared}<ListBucketResult xmlns="{namespace}">'
        f"<IsTruncated>{truncated}</IsTruncated>{more}{contents}</ListBucketResult>"
    ).encode()


def entry(key: str = "a/b", size: str = "3", etag: str = "&quot;e1&quot;") -> str:
    return f"<Contents><Key>{key}</Key><Size>{size}</Size><ETag>{etag}</ETag></Contents>"


def test_an_xml_page_is_its_objects():
    page = parse_xml_page(document(entry() + entry("a/c", "0", "")), "scans")
    assert page.objects == (
        ListedObject(ObjectRef("scans", "a/b"), 3, "e1"),
        ListedObject(ObjectRef("scans", "a/c"), 0, None),
    )
    assert page.next_token is None


def test_a_page_without_objects_is_one():
    assert parse_xml_page(document(), "scans").objects == ()
    assert parse_json_page(b'{"kind": "storage#objects"}', "scans").objects == ()


def test_keys_are_decoded_where_the_server_says_that_they_are_encoded():
    encoded = entry("a/%E6%97%A5+%2B%25%0A")
    page = parse_xml_page(document(encoded, more="<EncodingType>url</EncodingType>"), "scans", "gs")
    assert page.objects[0].ref == ObjectRef("scans", "a/日 +%\n", "gs")
    assert parse_xml_page(document(encoded), "scans").objects[0].ref.key == "a/%E6%97%A5+%2B%25%0A"


def test_a_token_counts_where_the_listing_is_truncated():
    token = "<NextContinuationToken>t1</NextContinuationToken>"
    assert parse_xml_page(document(more=token, truncated="true"), "scans").next_token == "t1"
    assert parse_xml_page(document(more=token), "scans").next_token is None


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"not XML",
        document(entry())[:-5],
        document(entry()).replace(b"a/b", b"a/\x01"),
        document(entry()).replace(b"a/b", b"a/\xff"),
        document().replace(b"UTF-8", b"klingon"),
        document(truncated="true"),
        document(truncated="true", more="<NextContinuationToken/>"),
        document(truncated="maybe"),
        document(entry(size="many")),
        document(entry(size="-1")),
        document(entry(size="9" * 30)),
        document(entry(size="")),
        document(entry(key="")),
        document("<Contents><Size>3</Size></Contents>"),
        document("<Contents><Key>a/b</Key></Contents>"),
        document(entry("a/%FF"), more="<EncodingType>url</EncodingType>"),
        b"<Error><Code>AccessDenied</Code></Error>",
        b"<ListBucketResult/>",
        b"<html><body>Sign in</body></html>",
        document(declared='<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'),
        document(declared='<!DOCTYPE x SYSTEM "file:///etc/passwd">'),
        b"<a>" * 100_000,
    ],
)
def test_an_xml_page_that_cannot_be_trusted_is_an_error(page):
    with pytest.raises(ListingError) as caught:
        parse_xml_page(page, "scans")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_json_page_is_its_objects_with_the_etag_of_the_xml_path():
    page = parse_json_page(
        b'{"items": [{"name": "a/b", "size": "3", "etag": "CAE=", "md5Hash": "XrY7u+Ae7tCTyyK7j1rNww=="},'
        b' {"name": "a/composite", "size": "0", "etag": "CAE="}], "nextPageToken": "t1"}',
        "scans",
    )
    assert page.objects == (
        ListedObject(ObjectRef("scans", "a/b", "gs"), 3, "5eb63bbbe01eeed093cb22bb8f5acdc3"),
        ListedObject(ObjectRef("scans", "a/composite", "gs"), 0, None),
    )
    assert page.next_token == "t1"


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"[]",
        b"null",
        b"<ListBucketResult/>",
        b'{"items": {}}',
        b'{"items": [1]}',
        b'{"items": [{"size": "3"}]}',
        b'{"items": [{"name": "", "size": "3"}]}',
        b'{"items": [{"name": "a", "size": "x"}]}',
        b'{"items": [{"name": "a", "size": 1.5}]}',
        b'{"items": [{"name": "a"}]}',
        b'{"items": [{"name": "a\\ud800", "size": "3"}]}',
        b'{"items": [{"name": "a", "size": "3", "md5Hash": "!"}]}',
        b'{"items": [{"name": "a", "size": ' + b"9" * 5000 + b"}]}",
        b'{"nextPageToken": 5}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_a_json_page_that_cannot_be_trusted_is_an_error(page):
    with pytest.raises(ListingError):
        parse_json_page(page, "scans")


def page(*keys: str, token: str | None = None, size: int = 1) -> ListingPage:
    return ListingPage(tuple(ListedObject(ObjectRef("scans", key), size) for key in keys), token)


async def joined(pages, prefix=PREFIX):
    async def page_of(token):
        found = pages[token] if isinstance(pages, dict) else pages(token)
        if isinstance(found, Exception):
            raise found
        return found

    return [listed.ref.key async for listed in join_pages(page_of, prefix)]


@pytest.mark.anyio
async def test_pages_are_joined_in_their_order():
    pages = {None: page("a/1", "a/2", token="t1"), "t1": page(token="t2"), "t2": page("a/3")}
    assert await joined(pages) == ["a/1", "a/2", "a/3"]


@pytest.mark.anyio
async def test_placeholders_of_folders_are_left_out():
    assert await joined({None: page("a/", "a/b/", "a/b/c", size=0)}) == ["a/b/c"]
    assert await joined({None: page("a/b/", size=7)}) == ["a/b/"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "pages",
    [
        {None: page("a/1", token="t"), "t": page("a/2", token="t")},
        {None: page("a/1", token="t" * 10_000)},
        {None: page("a/1", "b/2")},
        {None: page("a/1", "a/1")},
        {None: page("a/1", token="t"), "t": ServerFaultError("the server answers 500", status=500)},
        lambda token: page(token=f"{token}x"),
    ],
    ids=["circle", "long token", "elsewhere", "twice", "later page fails", "endless"],
)
async def test_a_listing_that_contradicts_itself_is_an_error_that_names_it(pages):
    with pytest.raises(ListingError, match="s3://scans/a/"):
        await joined(pages)


@pytest.mark.anyio
async def test_a_listing_has_bounds():
    def endless(token):
        return page(token=str(int(token or 0) + 1))

    with pytest.raises(ListingError, match="does not end after 100 pages"):
        await joined(endless)


@pytest.mark.anyio
async def test_the_error_of_a_page_keeps_its_status_and_its_attempts():
    failed = ServerFaultError("the server answers 500", status=500)
    failed.attempts = 4
    with pytest.raises(ListingError) as caught:
        await joined({None: failed})
    assert (caught.value.status, caught.value.attempts) == (500, 4)
    assert caught.value.__cause__ is failed
