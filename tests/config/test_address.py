"""An address that may hold a secret shows none of it, wherever it becomes text."""

import json
import logging
import pickle
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest
from harvester_program import run

from harvester.config import load
from harvester.config.address import Address, CommandWord, WebhookAddress
from harvester.dataset import Dataset
from harvester.engine.run_record import RunRecord
from harvester.errors import ConfigError
from harvester.schedule.notification import notify
from harvester.store.telemetry import Telemetry


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("https://user:SECRET@host/a.parquet?sig=SECRET", "https://...@host/a.parquet?..."),
        ("HTTPS://user:SEC@RET@host:8080/a", "HTTPS://...@host:8080/a"),
        ("http://user:SEC/RET@proxy:3128", "http://...@proxy:3128"),
        ("http://user:SEC RET?@host/a", "http://...@host/a"),
        ("http://host:80/a@b", "http://host:80/a@b"),
        ("user:SECRET@proxy:3128", "...@proxy:3128"),
        ("http://host/a#SECRET", "http://host/a#..."),
        ("https://host/a.parquet", "https://host/a.parquet"),
        ("data/it's @home#1.parquet", "data/it's @home#1.parquet"),
        ("idc", "idc"),
    ],
)
def test_an_address_hides_user_info_and_query(given: str, shown: str) -> None:
    address = Address(given)
    assert (str(address), f"{address}", f"{address:>1}", "%s" % address) == (shown,) * 4  # noqa: UP031
    assert repr(address) == repr(shown)
    assert (address.whole, address) == (given, given)
    again = pickle.loads(pickle.dumps(address))
    assert (type(again), again.whole) == (Address, given)


CONFIGURATION = """
dataset = "{folder}/ds"
[source]
catalog = "http://user:SECRET@127.0.0.1:1/c.parquet?X-Amz-Signature=SECRET"
[schedule]
cron = "0 0 * * *"
webhook = "https://hooks.example.com/services/SECRET?x=SECRET"
command = ["notify-SECRET", "--token", "SECRET"]
"""


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "crawl.toml"
    path.write_text(CONFIGURATION.format(folder=tmp_path))
    return path


def test_a_configuration_shows_no_secret(written: Path) -> None:
    config = load(written)
    assert config.schedule is not None
    assert type(config.schedule.webhook) is WebhookAddress
    assert type(config.schedule.command[0]) is CommandWord
    assert config.schedule.webhook.whole.endswith("/services/SECRET?x=SECRET")
    for text in (
        repr(config),
        str(config),
        json.dumps(config.model_dump(mode="json")),
        config.model_dump_json(),
    ):
        assert "SECRET" not in text
        assert "hooks.example.com/..." in text


@pytest.mark.parametrize("command", [["config"], ["config", "--json"], ["plan"], ["crawl"], ["doctor"]])
def test_no_command_shows_a_secret_of_its_configuration(
    written: Path, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:SECRET@127.0.0.1:1")
    done = run(command[0], str(written), *command[1:])
    assert "SECRET" not in done.stdout + done.stderr
    assert done.status != 1


@pytest.mark.parametrize(
    "text",
    [
        '[source]\ncatalog = "ftp://user:SECRET@host/c?sig=SECRET"',
        '[source]\ncatalog = "http://user:x/SECRET@host/c"',
        '[source]\ncatalog = "http://[user:SECRET@host/c"',
        '[source]\nendpoint = "http://user:x/SECRET@host"',
        '[source]\nendpoint = "http://user:SECRET@host"',
        '[source]\nendpoint = "http://host/?sig=SECRET"',
        '[source]\ncatalog = ["https://user:SECRETSECRETSECRETSECRETSECRETSECRETSECRETSECRET@host/c"]',
        '[limits]\nscheduler = "tcp://user:SECRET@host:1"',
        '[schedule]\ncron = "0 0 * * *"\nwebhook = ["https://hooks.example.com/SECRET"]',
        '[schedule]\ncron = "0 0 * * *"\nwebhook = "hooks.example.com/SECRET"',
        '[schedule]\ncron = "0 0 * * *"\ncommand = [["SECRET"]]',
        "[schedule]\nwebhook = https://hooks.example.com/SECRET",
        "[schedule]\ncommand = [SECRET",
    ],
)
def test_an_error_of_a_configuration_shows_no_secret(tmp_path: Path, text: str) -> None:
    path = tmp_path / "crawl.toml"
    path.write_text(f'dataset = "{tmp_path}/ds"\n{text}\n')
    with pytest.raises(ConfigError) as error:
        load(path)
    assert "SECRET" not in str(error.value)


@pytest.mark.parametrize("place", ["s3://user:SECRET@b/p", "s3://b/p?endpoint=http://user:SECRET@host"])
def test_a_dataset_with_a_secret_is_refused(tmp_path: Path, place: str) -> None:
    path = tmp_path / "crawl.toml"
    path.write_text(f'dataset = "{place}"\n')
    with pytest.raises(ConfigError, match="dataset: holds a user or a password") as error:
        load(path)
    assert "SECRET" not in str(error.value)


def test_a_notification_that_fails_shows_no_secret(written: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = load(written)
    assert config.schedule is not None
    schedule = config.schedule.model_copy(
        update={"webhook": WebhookAddress("http://user:SECRET@127.0.0.1:1/SECRET")}
    )
    with caplog.at_level(logging.DEBUG, logger="harvester"):
        anyio.run(notify, schedule, {"failed": True})
    assert sum(record.name == "harvester" for record in caplog.records) == 2
    assert "SECRET" not in caplog.text


def test_a_run_record_holds_no_secret(written: Path, tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path / "d")
    totals = {"instances": 0, "requests": 3, "bytes_fetched": 10}
    moment = datetime(2024, 5, 6, tzinfo=UTC)
    path = RunRecord("crawl", load(written), moment, 2.0, 4, totals, Telemetry()).save(dataset)
    record = (tmp_path / "d" / path).read_text()
    assert "SECRET" not in record
    assert "hooks.example.com/..." in record
