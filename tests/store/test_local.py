import os
import socket
from pathlib import Path

import pytest

from harvester.errors import (
    AccessDeniedError,
    ListingError,
    NotFoundError,
    ObjectChangedError,
    RequestRejectedError,
    ServerFaultError,
)
from harvester.model import ByteRange, ObjectRef
from harvester.store import local
from harvester.store.local import LocalStore

# ruff: noqa: ASYNC240 - a test may wait for its own small files
pytestmark = pytest.mark.anyio


def ref(path) -> ObjectRef:
    return ObjectRef("", str(path), "file")


async def listed(path):
    return [found async for found in LocalStore().list_objects(ref(path))]


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "one.dcm"
    path.write_bytes(bytes(range(100)))
    return path


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (0, 100), (40, 60), (90, 500), (100, 200), (5000, 5001)])
async def test_a_range_is_the_files_bytes(file, start, stop):
    answer = await LocalStore().get_range(ref(file), ByteRange(start, stop))
    assert (answer.data, answer.size) == (bytes(range(100))[start:stop], 100)


async def test_an_empty_file_is_an_empty_answer(tmp_path):
    (tmp_path / "empty").touch()
    answer = await LocalStore().get_range(ref(tmp_path / "empty"), ByteRange(0, 10))
    assert (answer.data, answer.size) == (b"", 0)


async def test_the_etag_holds_until_the_file_is_replaced(file):
    store = LocalStore()
    first = await store.get_range(ref(file), ByteRange(0, 10))
    assert (await store.get_range(ref(file), ByteRange(10, 20), etag=first.etag)).etag == first.etag
    assert [found.etag for found in await listed(file)] == [first.etag]
    file.write_bytes(b"another")
    with pytest.raises(ObjectChangedError):
        await store.get_range(ref(file), ByteRange(0, 5), etag=first.etag)


async def test_a_file_that_changes_while_it_is_read_is_told(file, monkeypatch):
    def pread(descriptor, length, offset):
        os.truncate(file, 5)
        return real(descriptor, length, offset)

    real = os.pread
    monkeypatch.setattr(os, "pread", pread)
    with pytest.raises(ObjectChangedError, match="while it was read"):
        await LocalStore().get_range(ref(file), ByteRange(0, 50))


async def test_a_read_that_gives_less_is_continued(file, monkeypatch):
    real = os.pread
    monkeypatch.setattr(
        os, "pread", lambda descriptor, length, offset: real(descriptor, min(length, 7), offset)
    )
    assert (await LocalStore().get_range(ref(file), ByteRange(3, 90))).data == bytes(range(3, 90))


@pytest.mark.parametrize("name", ["none.dcm", "one.dcm/below", "x" * 300])
async def test_a_missing_file_is_not_found(file, name):
    with pytest.raises(NotFoundError, match="file://"):
        await LocalStore().get_range(ref(file.parent / name), ByteRange(0, 1))


async def test_an_unreadable_file_is_denied(file, monkeypatch):
    def denied(*_):
        raise PermissionError(13, "Permission denied")

    if os.geteuid() == 0:  # root may read everything, so the system's answer is played
        monkeypatch.setattr(local.os, "open", denied)
    file.chmod(0)
    with pytest.raises(AccessDeniedError, match=r"one\.dcm"):
        await LocalStore().get_range(ref(file), ByteRange(0, 1))


async def test_a_failing_disk_is_a_fault_of_the_store(file, monkeypatch):
    def failing(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(local.os, "pread", failing)
    with pytest.raises(ServerFaultError, match="Input/output error"):
        await LocalStore().get_range(ref(file), ByteRange(0, 1))


async def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, "/dev/zero", "a\0b", "\ud800"):
        with pytest.raises(RequestRejectedError):
            await LocalStore().get_range(ref(path), ByteRange(0, 1))
    with pytest.raises(RequestRejectedError):
        await LocalStore().get_range(ObjectRef("scans", "a"), ByteRange(0, 1))


async def test_a_listing_is_the_whole_tree_in_the_order_of_its_paths(tmp_path):
    names = ["a-b/1", "a/2", "a/b/3", "a.dcm", "B/4", "z", "ü/5"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "nothing in it").mkdir()
    found = await listed(tmp_path)
    assert [item.ref.key for item in found] == [
        str(tmp_path / name) for name in sorted(names, key=lambda name: name.encode())
    ]
    assert {item.ref.scheme for item in found} == {"file"}
    assert [item.size for item in found] == [len(Path(item.ref.key).read_bytes()) for item in found]


async def test_names_that_are_no_utf_8_are_listed_and_read(tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff%41.dcm"
    Path(os.fsdecode(path)).write_bytes(b"bytes")
    (found,) = await listed(tmp_path)
    again = ObjectRef.parse(found.ref.url)
    assert again == found.ref
    assert (await LocalStore().get_range(again, ByteRange(0, 9))).data == b"bytes"


async def test_a_file_is_listed_as_itself(file):
    assert [(found.ref, found.size) for found in await listed(file)] == [(ref(file), 100)]


async def test_links_in_a_circle_end(tmp_path, file):
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "up").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "twin").symlink_to(tmp_path / "below")
    found = {Path(item.ref.key).name: item.size for item in await listed(tmp_path)}
    assert found == {"one.dcm": 100, "self": 0}
    with pytest.raises(NotFoundError):
        await LocalStore().get_range(ref(tmp_path / "self"), ByteRange(0, 1))
    assert file.exists()


async def test_a_link_to_nothing_is_listed_so_that_reading_it_says_so(tmp_path):
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    (found,) = await listed(tmp_path)
    with pytest.raises(NotFoundError):
        await LocalStore().get_range(found.ref, ByteRange(0, 1))


async def test_a_linked_folder_is_followed(tmp_path, file):
    (tmp_path / "root").mkdir()
    (tmp_path / "elsewhere").mkdir()
    file.rename(tmp_path / "elsewhere" / "one.dcm")
    (tmp_path / "root" / "link").symlink_to(tmp_path / "elsewhere")
    assert [found.ref for found in await listed(tmp_path / "root")] == [ref(tmp_path / "root/link/one.dcm")]


async def test_pipes_and_sockets_are_left_out(tmp_path, file, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
        assert [found.ref for found in await listed(tmp_path)] == [ref(file)]


async def test_a_folder_that_is_missing_or_closed_is_an_error(tmp_path, file, monkeypatch):
    for path in (tmp_path / "none", "a\0b"):
        with pytest.raises(ListingError):
            await listed(path)
    with pytest.raises(ListingError):
        [found async for found in LocalStore().list_objects(ObjectRef("scans", "a/"))]

    def closed(folder):
        raise PermissionError(13, "Permission denied", folder)

    monkeypatch.setattr(local.os, "scandir", closed)
    with pytest.raises(ListingError, match="Permission denied"):
        await listed(file.parent)
