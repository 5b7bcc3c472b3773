"""`harvester doctor` finds what works and names what does not."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import anyio
import pytest
from harvester_program import run
from recorded_demo import RecordedDemo, recorded_demo
from tls_servers import authority_file, server_context

from harvester.dicom import compiled
from harvester.model import ObjectRef
from harvester.store.diagnosis import check_series


@pytest.fixture(scope="module")
def demo() -> Iterator[RecordedDemo]:
    with recorded_demo() as demo:
        yield demo


def checks(toml: Path, **environment: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """The exit status and the checks by name."""
    done = run("doctor", toml, "--json", **environment)
    document = json.loads(done.stdout)
    by_name: dict[str, list[dict[str, Any]]] = {}
    for check in document["checks"]:
        by_name.setdefault(check["name"], []).append(check)
    assert document["passed"] == (done.status == 0)
    return done.status, by_name


def test_everything_works_against_a_bucket_on_this_machine(demo: RecordedDemo, tmp_path: Path) -> None:
    status, found = checks(demo.toml(tmp_path))
    assert status == 0
    assert {"version", "disk", "open files", "catalog", "name", "connection", "listing", "range"} <= set(
        found
    )
    assert all(check["passed"] for check in found["listing"] + found["range"])
    assert " bytes of " in found["range"][0]["detail"]
    details = {check["target"]: check["detail"] for check in found["version"]}
    assert details["compiled core"] == compiled.status()


def test_a_closed_port_is_named_and_what_needs_it_is_left_out(demo: RecordedDemo, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        toml = demo.toml(tmp_path)
        toml.write_text(
            toml.read_text().replace(
                f'endpoint = "{demo.address.endpoint}', f'endpoint = "http://127.0.0.1:{port}'
            )
        )
        status, found = checks(toml)
    assert status == 2
    (connection,) = found["connection"]
    assert not connection["passed"]
    assert f"127.0.0.1:{port} refuses connections" in connection["detail"]
    assert "listing" not in found


@pytest.mark.parametrize(("completes_tls", "detail"), [(True, "TLSv1"), (False, "closed the connection")])
def test_a_server_that_closes_without_the_farewell_of_tls(completes_tls, detail, tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority_file(tmp_path)))
    tls = server_context("127.0.0.1")

    def serve(listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            with suppress(OSError), connection:
                if completes_tls:
                    connection = tls.wrap_socket(connection, server_side=True)
                with connection:
                    connection.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=serve, args=(listener,), daemon=True).start()
        endpoint = f"https://127.0.0.1:{listener.getsockname()[1]}"
        found = anyio.run(partial(check_series, ObjectRef("scans", "a/"), endpoint=endpoint))
    (handshake,) = (check for check in found if check.name == "TLS")
    assert handshake.passed is completes_tls
    assert detail in handshake.detail


def test_an_unknown_host_is_named(demo: RecordedDemo, tmp_path: Path) -> None:
    toml = demo.toml(tmp_path)
    toml.write_text(
        toml.read_text().replace(
            f'endpoint = "{demo.address.endpoint}', 'endpoint = "http://harvester.invalid'
        )
    )
    status, found = checks(toml)
    assert status == 2
    assert "harvester.invalid" in found["name"][0]["detail"]


def test_a_proxy_is_used_and_its_password_is_not_printed(demo: RecordedDemo, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        proxy = f"http://user:secret@127.0.0.1:{closed.getsockname()[1]}"
        toml = demo.toml(tmp_path)
        toml.write_text(
            f'dataset = "{tmp_path}/dataset"\n[source]\nendpoint = "{demo.address.endpoint}"\n'
            '[select]\nprefixes = ["s3://bucket/series/"]\n'
        )
        done = run("doctor", toml, http_proxy=proxy, no_proxy="", NO_PROXY="")
    assert done.status == 2
    assert "secret" not in done.stdout + done.stderr
    assert "the proxy 127.0.0.1:" in done.stdout


def test_credentials_are_found_by_name_and_not_printed(demo: RecordedDemo, tmp_path: Path) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "verysecret"}
    done = run("doctor", demo.toml(tmp_path), **keys)
    assert "AWS_ACCESS_KEY_ID" in done.stdout
    assert "AKIAEXAMPLE" not in done.stdout
    assert "verysecret" not in done.stdout


def test_a_configuration_that_cannot_be_read_is_a_failed_check(tmp_path: Path) -> None:
    (tmp_path / "crawl.toml").write_text("dataset = 3")
    status, found = checks(tmp_path / "crawl.toml")
    assert status == 2
    assert "dataset" in found["configuration"][0]["detail"]


def test_a_missing_certificate_file_is_named(demo: RecordedDemo, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.pem")
    status, found = checks(demo.toml(tmp_path), AWS_CA_BUNDLE=missing)
    assert status == 2
    failed = [check for check in found["certificates"] if not check["passed"]]
    assert [check["target"] for check in failed] == ["AWS_CA_BUNDLE"]
    assert os.path.basename(missing) in failed[0]["detail"]  # noqa: PTH119
