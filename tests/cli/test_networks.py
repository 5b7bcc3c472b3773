"""The program behind proxies, at private buckets, and where nothing can be reached.

With `-s` the seconds of each case are printed as a table, which docs/networks.md has.
"""

import json
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pyarrow.parquet as pq
import pytest
from anyio.from_thread import start_blocking_portal
from faulty_bucket import FaultyBucket, serving
from harvester_program import COMMAND, Ended, ended, start, start_command
from harvester_program import run as run_forked
from private_buckets import NO_AWS, PrivateGcs, PrivateS3, private_s3
from proxy_server import proxy
from pydicom.data import get_testdata_file
from tls_servers import authority_file, server_context

import harvester
from harvester.cli.main import application
from harvester.errors import AccessDeniedError
from harvester.query import open_dataset, run_query

CONTENT = Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()
KEYS = [f"{series}/{number}.dcm" for series in range(3) for number in range(20)]
FEW = [f"{series}/{number}.dcm" for series in range(3) for number in range(4)]
T = TypeVar("T", bound=FaultyBucket)
VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "HARVESTER_CREDENTIALS")


@dataclass(frozen=True)
class Run:
    """A run of the program, and how long it took."""

    case: str
    ended: Ended
    seconds: float


@pytest.fixture(scope="module")
def runs() -> Iterator[list[Run]]:
    """All runs; their table is printed at the end."""
    found: list[Run] = []
    yield found
    for run in found:
        last = run.ended.stderr.strip().splitlines()[-1]
        sys.stdout.write(f"\n{run.case:<50} exit {run.ended.status}  {run.seconds:6.1f} s  {last[:150]}")
    sys.stdout.write("\n")


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def crawl(runs: list[Run], tmp_path: Path, request: pytest.FixtureRequest):
    """Crawls 3 series of 20 objects, or the given URLs, in 6 shards."""

    def run(
        endpoint: str,
        source: str = "",
        *,
        urls: list[str] | None = None,
        prefixes: list[str] | None = None,
        limits: str = "processes = 1",
        shell: str = "",
        options: tuple[str, ...] = (),
        **environment: str,
    ) -> Ended:
        (tmp_path / "urls.txt").write_text("\n".join(urls or [f"s3://hospital/{key}" for key in KEYS]))
        (tmp_path / "crawl.toml").write_text(
            f'dataset = "{tmp_path}/dataset"\n[source]\ncatalog = "listing"\n{source}\n'
            + (f'endpoint = "{endpoint}"\n' if endpoint else "")
            + (
                f"[select]\nprefixes = {prefixes}\n"
                if prefixes
                else f'[select]\nurls = "{tmp_path}/urls.txt"\n'
            )
            + f"[limits]\nshard_instances = 10\n{limits}\n"
        )
        arguments = ("crawl", str(tmp_path / "crawl.toml"), "--json", *options)
        started = time.monotonic()
        if shell:
            command = ["sh", "-c", f'{shell} && exec "$@"', "sh", *COMMAND, *arguments]
            done = ended(start_command(command, **environment))
        elif "SSL_CERT_FILE" in environment:  # a library may read it when it is imported
            done = ended(start(*arguments, **environment))
        else:
            done = run_forked(*arguments, **environment)
        name = request.node.name.removeprefix("test_").replace("_", " ")
        runs.append(Run(name, done, time.monotonic() - started))
        assert "Traceback" not in done.stderr
        return done

    return run


@contextmanager
def serving_from_a_thread(bucket: T, *names: str) -> Iterator[T]:
    with start_blocking_portal() as portal:
        tls = server_context(*names) if names else None
        with portal.wrap_async_context_manager(serving(bucket, tls)) as running:
            yield running


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def assert_ended_with(done: Ended, cause: str) -> None:
    assert done.status == 2
    assert done.stdout == ""
    assert cause in done.stderr.splitlines()[-1]
    assert any(" WARNING " in line and cause in line for line in done.stderr.splitlines())


def test_an_authority_that_is_not_trusted(crawl):
    with serving_from_a_thread(FaultyBucket(dict.fromkeys(KEYS, CONTENT)), "127.0.0.1") as bucket:
        done = crawl(f"https://127.0.0.1:{bucket.port}")
    assert_ended_with(done, "is not trusted")
    assert "SSL_CERT_FILE or [source] ca_bundle" in done.stderr


def test_a_name_that_does_not_exist(crawl):
    assert_ended_with(crawl("https://harvester.invalid"), "harvester.invalid")


def test_a_port_that_refuses_connections(crawl):
    done = crawl(f"http://127.0.0.1:{closed_port()}")
    assert_ended_with(done, "refuses connections; check the host, the port")


def test_a_server_that_hangs_up_is_named_within_seconds_in_json_logs(crawl):
    first: list[datetime] = []

    class HangingUp(FaultyBucket):
        async def answer(self, *_):
            first.append(datetime.now(UTC))
            return False

    with serving_from_a_thread(HangingUp({})) as bucket:
        limits = "processes = 1\npatience_seconds = 1"
        done = crawl(bucket.endpoint, limits=limits, options=("--log-format", "json"))
    assert done.status == 2
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    warning = next(line for line in lines if line["level"] == "WARNING")
    assert datetime.fromisoformat(warning["time"]) - first[0] < timedelta(seconds=5)
    assert "s3://hospital: the connection failed" in warning["message"]
    assert "its requests wait for it up to 1 s" in warning["message"]
    assert lines[-1]["level"] == "ERROR"
    assert "no request has succeeded" in lines[-1]["message"]


def test_a_proxy_is_used_for_every_object(crawl, tmp_path):
    objects = dict.fromkeys(KEYS, CONTENT)
    with serving_from_a_thread(FaultyBucket(objects), "127.0.0.1") as bucket, proxy(tmp_path) as running:
        done = crawl(
            f"https://127.0.0.1:{bucket.port}",
            HTTPS_PROXY=f"http://127.0.0.1:{running.port}",
            SSL_CERT_FILE=str(authority_file(tmp_path)),
        )
        assert running.connects() > 0
    assert json.loads(done.stdout)["instances"] == len(KEYS)
    assert bucket.requests == len(KEYS)


@pytest.mark.parametrize(("shell", "is_warned"), [("ulimit -Sn 256", False), ("ulimit -n 256", True)])
def test_256_descriptors(crawl, shell, is_warned):
    with serving_from_a_thread(FaultyBucket(dict.fromkeys(KEYS, CONTENT))) as bucket:
        done = crawl(bucket.endpoint, limits="", shell=shell)
    assert done.status == 0, done.stderr
    assert json.loads(done.stdout)["instances"] == len(KEYS)
    assert ("only 256 file descriptors are allowed: 128 requests" in done.stderr) is is_warned
    assert bucket.at_once <= (128 if is_warned else 256)


def test_a_private_bucket_has_no_copy_in_the_other_cloud(crawl):
    asked: list[str] = []

    class Private(FaultyBucket):
        async def answer(self, stream, head):
            asked.append(head.split(" ")[1])
            await stream.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            return True

    with serving_from_a_thread(Private({})) as bucket:
        done = crawl(bucket.endpoint)
    assert sorted(asked) == sorted(f"/hospital/{key}" for key in KEYS)
    assert done.status == 3
    assert "every object failed; the commonest reason: access_denied (60 of 60): the server" in done.stderr
    assert 'without credentials: not public; [source] credentials = "environment" signs' in done.stderr


@pytest.fixture(scope="module")
def hospital() -> Iterator[PrivateS3]:
    with private_s3(dict.fromkeys(FEW, CONTENT)) as bucket:
        yield bucket


URLS = [f"s3://hospital/{key}" for key in FEW]


def texts_of(folder: Path) -> str:
    """All rows and records of a crawl as text."""
    dataset = folder / "dataset"
    with open_dataset(str(dataset)) as connection:
        tables = [
            row
            for table in ("instances", "failures")
            for batch in run_query(connection, f"SELECT * FROM {table}").batches()
            for row in batch.to_pylist()
        ]
    records = [path.read_text(errors="replace") for path in (dataset / "_harvest").rglob("*.json")]
    plans = [pq.read_table(path).to_pylist() for path in (dataset / "_harvest").rglob("*.plan")]
    assert plans
    return f"{tables} {records} {plans}"


def test_a_private_s3_bucket_with_keys(crawl, hospital, tmp_path):
    prefixes = [f"s3://hospital/{series}/" for series in range(3)]
    environment = {**NO_AWS, **hospital.keys}
    done = crawl(hospital.endpoint, 'credentials = "environment"', prefixes=prefixes, **environment)
    assert done.status == 0, done.stderr
    assert json.loads(done.stdout)["instances"] == len(URLS)
    told = done.stderr + done.stdout + texts_of(tmp_path)
    assert not [key for key in hospital.keys.values() if key in told]
    assert "AWS4-HMAC" not in told


def test_a_private_s3_bucket_with_a_role_that_is_renewed(crawl, hospital, tmp_path):
    with hospital.role() as (variables, tokens):
        done = crawl(hospital.endpoint, 'credentials = "environment"', urls=URLS, **NO_AWS, **variables)
    assert done.status == 0, done.stderr
    assert json.loads(done.stdout)["instances"] == len(URLS)
    assert len(set(tokens)) > 1
    told = done.stderr + done.stdout + texts_of(tmp_path)
    assert not [token for token in tokens if token in told]


def test_single_objects_of_a_private_bucket(hospital, monkeypatch, capsys):
    for name, value in {**NO_AWS, **hospital.keys}.items():
        monkeypatch.setenv(name, value)
    signed = ("--credentials", "environment", "--endpoint", hospital.endpoint)
    for command in ("header", "frames"):
        arguments = [command, URLS[0], "--json", *signed]
        application(arguments)(arguments, standalone_mode=False)
        assert json.loads(capsys.readouterr().out)["instance_url"] == URLS[0]
    arguments = ["header", URLS[0], "--endpoint", hospital.endpoint]
    with pytest.raises(AccessDeniedError, match="of one object: --credentials environment"):
        application(arguments)(arguments, standalone_mode=False)
    assert (
        harvester.read_header(URLS[0], endpoint=hospital.endpoint, credentials="environment").Modality == "CT"
    )


def test_the_doctor_uses_the_credentials_of_the_configuration(hospital, monkeypatch, capsys, tmp_path):
    for name, value in {**NO_AWS, **hospital.keys}.items():
        monkeypatch.setenv(name, value)
    for credentials, status in (("environment", 0), ("none", 2)):
        toml = tmp_path / f"{credentials}.toml"
        toml.write_text(
            f'dataset = "{tmp_path}/d"\n[source]\ncatalog = "listing"\nendpoint = "{hospital.endpoint}"\n'
            f'credentials = "{credentials}"\n[select]\nprefixes = ["s3://hospital/0/"]\n'
        )
        arguments = ["doctor", str(toml), "--json"]
        assert application(arguments)(arguments, standalone_mode=False) == status
        checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
        assert checks["listing"]["passed"] is (status == 0)


def test_a_private_gcs_bucket_with_a_service_account(crawl, tmp_path):
    prefixes = [f"gs://hospital/{series}/" for series in range(3)]
    with (
        serving_from_a_thread(PrivateGcs(dict.fromkeys(FEW, CONTENT))) as bucket,
        bucket.account(tmp_path) as variables,
    ):
        done = crawl(bucket.endpoint, 'credentials = "environment"', prefixes=prefixes, **variables)
        assert bucket.tokens == ["token-0"]
    assert done.status == 0, done.stderr
    assert json.loads(done.stdout)["instances"] == len(FEW)
    assert "token-0" not in done.stderr + done.stdout + texts_of(tmp_path)
