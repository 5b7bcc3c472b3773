import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from anyio.from_thread import start_blocking_portal
from demo_requests import SECRET, ask, error_code

from harvester.demo import demo_bucket, lay_out


def test_a_file_that_changed_gets_another_etag_and_fails_if_match(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"before")
    [key] = (instance.key for instance in lay_out(tmp_path).instances)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(demo_bucket(tmp_path)) as address,
    ):
        target = f"/idc-open-data/{key}"
        before = ask(address, target)
        file.write_bytes(b"now another")
        assert ask(address, target, If_Match=before.headers["ETag"]).status == 412
        assert ask(address, target).body == b"now another"


@pytest.mark.parametrize("what", ["gone", "link", "folder", "pipe", "parent is a link"])
def test_a_file_that_is_no_longer_there_is_404(tmp_path: Path, what: str) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "file").write_bytes(SECRET)
    root = tmp_path / "root"
    file = root / "folder" / "file"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"content")
    [key] = (instance.key for instance in lay_out(root).instances)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(demo_bucket(root)) as address:
        assert ask(address, f"/idc-open-data/{key}").body == b"content"
        file.unlink()
        if what == "link":
            file.symlink_to(secret / "file")
        elif what == "folder":
            file.mkdir()
        elif what == "pipe":
            os.mkfifo(file)
        elif what == "parent is a link":
            file.parent.rmdir()
            file.parent.symlink_to(secret)
        answer = ask(address, f"/idc-open-data/{key}")
        assert (answer.status, error_code(answer)) == (404, "NoSuchKey")
        assert ask(address, "/idc-open-data?list-type=2").status == 200


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_403(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "file").chmod(0)
    [key] = (instance.key for instance in lay_out(tmp_path).instances)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(demo_bucket(tmp_path)) as address,
    ):
        assert ask(address, f"/idc-open-data/{key}").status == 403


def test_a_file_that_shrinks_while_it_is_sent_cuts_the_connection(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    os.truncate(file, 1 << 30)  # more than sockets hold, and no disk
    [key] = (instance.key for instance in lay_out(tmp_path).instances)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(demo_bucket(tmp_path)) as address,
    ):
        parts = urlsplit(address.endpoint)
        with socket.create_connection((parts.hostname, parts.port), timeout=300) as connection:
            connection.sendall(f"GET /idc-open-data/{key} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert b"Content-Length: 1073741824" in connection.recv(4096)
            os.truncate(file, 1000)
            received = 0
            try:
                while data := connection.recv(1 << 20):
                    received += len(data)
            except ConnectionResetError:
                pass
            assert received < 1 << 29
        assert len(ask(address, f"/idc-open-data/{key}").body) == 1000


def test_a_client_that_leaves_early_leaves_the_server_serving(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.truncate(tmp_path / "file", 1 << 30)
    [key] = (instance.key for instance in lay_out(tmp_path).instances)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(demo_bucket(tmp_path)) as address,
    ):
        parts = urlsplit(address.endpoint)
        for _ in range(5):
            with socket.create_connection((parts.hostname, parts.port), timeout=300) as connection:
                connection.sendall(f"GET /idc-open-data/{key} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                assert connection.recv(100)
        assert ask(address, f"/idc-open-data/{key}", Range="bytes=5-9").body == bytes(5)
