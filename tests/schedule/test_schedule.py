"""Scheduled runs: when they are due, that missed ones are caught up once, and notifications."""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web
from harvester_program import run
from proxy_server import proxy

from harvester.cli.schedule import command
from harvester.config import ScheduleConfig, load
from harvester.dataset import Dataset
from harvester.errors import ConfigError
from harvester.schedule import Job, State, load_job, run_due, run_forever
from harvester.schedule.notification import notify
from harvester.schedule.run import due
from harvester.schedule.state import LastRun

NEW_YORK = "America/New_York"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def job(cron: str, zone: str = "UTC") -> Job:
    return Job(Path("/c.toml"), "crawl", "d", ScheduleConfig(cron=cron, time_zone=zone))


def configured(folder: Path, more: str = "", name: str = "crawl.toml") -> Path:
    (folder / "dicom").mkdir(exist_ok=True)
    (folder / "dicom/nothing.dcm").write_bytes(b"no DICOM")
    path = folder / name
    path.write_text(
        f'dataset = "{folder}/data"\n[select]\nroot = "{folder}/dicom"\n'
        f'[schedule]\ncron = "* * * * *"\n{more}\n'
    )
    return path


@pytest.mark.parametrize(
    ("cron", "zone", "now", "before", "after"),
    [
        ("0 3 * * *", "UTC", "2026-05-05T03:00:00", "2026-05-05T03:00:00", "2026-05-06T03:00:00"),
        ("0 3 * * *", "UTC", "2026-05-05T02:59:59", "2026-05-04T03:00:00", "2026-05-05T03:00:00"),
        (
            "0 3 * * *",
            "America/New_York",
            "2026-01-05T12:00:00",
            "2026-01-05T08:00:00",
            "2026-01-06T08:00:00",
        ),
        (
            "0 3 * * *",
            "America/New_York",
            "2026-07-05T12:00:00",
            "2026-07-05T07:00:00",
            "2026-07-06T07:00:00",
        ),
        ("30 2 * * *", "Europe/Berlin", "2026-03-29T12:00:00", "2026-03-29T01:00:00", "2026-03-30T00:30:00"),
        ("0 0 29 2 *", "UTC", "2026-05-05T00:00:00", "2024-02-29T00:00:00", "2028-02-29T00:00:00"),
    ],
    ids=["at the time", "just before it", "winter", "summer", "in the hour that is skipped", "leap days"],
)
def test_a_job_is_due_by_the_clock_of_its_time_zone(
    cron: str, zone: str, now: str, before: str, after: str
) -> None:
    assert job(cron, zone).due_before(at(now)) == at(before)
    assert job(cron, zone).due_after(at(now)) == at(after)


def test_what_was_missed_is_due_once_and_a_new_job_has_missed_nothing(tmp_path: Path) -> None:
    state, daily = State(tmp_path / "s.json"), job("0 3 * * *")
    now = at("2026-05-05T12:00:00")
    assert due(daily, state, now) is None
    state.record(daily.path, LastRun(at("2026-05-01T12:00:00")))
    assert due(daily, state, now) == at("2026-05-05T03:00:00")
    state.record(daily.path, LastRun(at("2026-05-05T03:00:00"), now))
    assert due(daily, State.open(tmp_path / "s.json"), now) is None


def test_a_run_that_was_missed_is_caught_up_and_told_of(tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    program = f"import sys; open({str(told)!r}, 'wb').write(sys.stdin.buffer.read())"
    config = configured(tmp_path, f"command = {json.dumps([sys.executable, '-c', program])}")
    state = tmp_path / "state.json"
    assert run("schedule", config, "--once", "--state", state).status == 0
    assert not told.exists(), "a job that is new has missed nothing"
    opened = State.open(state)
    opened.record(config.resolve(), LastRun(datetime.now(UTC) - timedelta(days=3)))
    assert run("schedule", config, "--once", "--state", state).status == 3
    facts = json.loads(told.read_text())
    assert (facts["status"], facts["failed"], facts["command"]) == (3, True, "crawl")
    assert facts["result"]["failures"] == 1
    assert facts["summary"] == "0 instances, 1 failure, 0 already there"
    assert run("schedule", config, "--once", "--state", state).status in (0, 3)  # a minute may have begun
    shown = run("schedule", "--status", config, "--state", state).stdout
    assert "crawl" in shown
    assert "* * * * *" in shown


def test_the_status_is_one_json_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = configured(tmp_path)
    state = State(tmp_path / "state.json")
    then = at("2026-01-01T00:00:00")
    state.record(config.resolve(), LastRun(then, then, then, 3, "1 failure"))
    assert command([config], status=True, as_object=True, state=state.path) == 0
    (shown,) = json.loads(capsys.readouterr().out)["jobs"]
    assert (shown["status"], shown["outcome"], shown["summary"], shown["runs"]) == (
        3,
        "failed",
        "1 failure",
        "crawl",
    )
    assert datetime.fromisoformat(shown["started"]) == then
    assert datetime.fromisoformat(shown["next"]) > then
    with pytest.raises(ConfigError, match="--json goes with --status"):
        command([config], as_object=True)


def test_a_schedule_runs_again_and_again_until_it_is_stopped(tmp_path: Path) -> None:
    config = configured(tmp_path)
    state = State(tmp_path / "state.json")
    state.record(config, LastRun(at("2026-01-01T00:00:00")))

    async def watch() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_forever, [load_job(config)], state)
            with anyio.fail_after(60):
                while state.runs[str(config)].ended is None:  # noqa: ASYNC110  the schedule has no event
                    await anyio.sleep(0.05)
            tasks.cancel_scope.cancel()

    anyio.run(watch)
    assert state.runs[str(config)].status == 3


def test_a_run_whose_dataset_is_held_by_another_is_busy_and_caught_up_when_it_is_free(tmp_path: Path) -> None:
    told = tmp_path / "told.jsonl"
    program = f"import sys; open({str(told)!r}, 'ab').write(sys.stdin.buffer.read() + b'\\n')"
    config = configured(tmp_path, f"command = {json.dumps([sys.executable, '-c', program])}")
    state = tmp_path / "state.json"
    State(state).record(config, LastRun(at("2026-01-01T00:00:00")))
    with Dataset.create(tmp_path / "data").lock():
        for _ in range(2):
            refused = run("schedule", config, "--once", "--state", state)
            assert refused.status == 0, refused.stderr
        shown = run("schedule", "--status", config, "--state", state).stdout
    assert "waiting" in shown
    last = State.open(state).runs[str(config)]
    assert "another crawl is writing this dataset" in last.summary
    assert run("schedule", config, "--once", "--state", state).status == 3
    (busy, done) = map(json.loads, told.read_text().splitlines())
    assert (busy["busy"], busy["failed"], busy["result"]) == (True, False, None)
    assert (done["busy"], done["failed"], done["status"]) == (False, True, 3)
    assert State.open(state).runs[str(config)].due > last.due


def test_a_busy_dataset_is_no_failure_to_notify_of(tmp_path: Path) -> None:
    told = tmp_path / "told"
    command = [sys.executable, "-c", f"open({str(told)!r}, 'w')"]
    config = configured(tmp_path, f'notify_on = "failure"\ncommand = {json.dumps(command)}')
    state = State(tmp_path / "state.json")
    state.record(config, LastRun(at("2026-01-01T00:00:00")))
    with Dataset.create(tmp_path / "data").lock():
        (ran,) = anyio.run(run_due, [load_job(config)], state)
    assert ran.run.busy
    assert not told.exists()


def test_a_schedule_that_waits_for_a_busy_dataset_catches_up(
    tmp_path: Path,
) -> None:
    config = configured(tmp_path).rename(tmp_path / "yearly.toml")
    config.write_text(config.read_text().replace("* * * * *", "0 0 1 1 *"))
    state = State(tmp_path / "state.json")
    state.record(config, LastRun(at("2020-01-01T12:00:00")))

    async def watch() -> None:
        async with anyio.create_task_group() as tasks:
            with Dataset.create(tmp_path / "data").lock():
                tasks.start_soon(run_forever, [load_job(config)], state, 0.05)
                await until(lambda: state.runs[str(config)].busy)
            await until(lambda: state.runs[str(config)].status == 3)
            tasks.cancel_scope.cancel()

    async def until(happened: Callable[[], bool]) -> None:
        with anyio.fail_after(60):
            while not happened():  # noqa: ASYNC110  the schedule has no event
                await anyio.sleep(0.01)

    anyio.run(watch)
    assert not state.runs[str(config)].busy


@pytest.mark.parametrize("status", [200, 500])
def test_a_webhook_gets_one_json_object(status: int, caplog: pytest.LogCaptureFixture) -> None:
    got: list[Any] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        got.append((request.method, await request.json()))
        return web.Response(status=status)

    async def serve() -> None:
        runner = web.ServerRunner(web.Server(answer))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook?token=secret"
        await notify(ScheduleConfig(cron="* * * * *", webhook=url), {"failed": False, "status": 0})
        await notify(ScheduleConfig(cron="* * * * *", webhook=url, notify_on="failure"), {"failed": False})
        await runner.cleanup()
        await notify(ScheduleConfig(cron="* * * * *", webhook=url), {"failed": True})

    anyio.run(serve)
    assert got == [("POST", {"failed": False, "status": 0})]
    assert ("the server responded with status 500" in caplog.text) is (status == 500)
    assert "ClientConnectorError" in caplog.text
    assert "secret" not in caplog.text


def test_a_webhook_goes_through_the_proxy(tmp_path, monkeypatch, caplog):
    url = "http://hooks.invalid/hook?token=secret"  # only the proxy could find this host
    schedule = ScheduleConfig(cron="* * * * *", webhook=url)
    with proxy(tmp_path, "BasicAuth me password") as running:
        monkeypatch.setenv("HTTP_PROXY", f"http://me:password@127.0.0.1:{running.port}")
        monkeypatch.setenv("NO_PROXY", "other.invalid")
        anyio.run(notify, schedule, {"failed": True})
        assert "POST http://hooks.invalid/hook" in running.log_file.read_text()
    assert "the server responded with status 5" in caplog.text
    assert "secret" not in caplog.text
    assert "password" not in caplog.text


@pytest.mark.parametrize(
    ("schedule", "complaint"),
    [
        ('cron = "0 25 * * *"', "schedule.cron"),
        ('cron = "0 3 * *"', "schedule.cron.*five fields"),
        ('cron = "0 0 30 2 *"', "schedule.cron"),
        ('cron = "0 3 * * *"\ntime_zone = "Europe/Berlyn"', "schedule.time_zone.*Europe/Berlin"),
        ('cron = "0 3 * * *"\nwebhook = "file:///etc/passwd"', "schedule.webhook.*http"),
        ('cron = "0 3 * * *"\nwebhook = "http://a b/"', "schedule.webhook"),
        ("", "schedule.cron: missing"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(tmp_path: Path, schedule: str, complaint: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(f'dataset = "d"\n[schedule]\n{schedule}\n')
    with pytest.raises(ConfigError, match=complaint):
        load(path)


def test_a_file_without_a_schedule_and_a_state_that_is_none_are_named(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('dataset = "d"\n')
    with pytest.raises(ConfigError, match=r"c\.toml: has no schedule"):
        load_job(path)
    path.write_text('dataset = "d"\n[audit]\n[schedule]\ncron = "0 3 * * *"\n')
    assert load_job(path).command == "audit"
    (tmp_path / "s.json").write_text("[]")
    with pytest.raises(ConfigError, match=r"s\.json: is not the state file"):
        State.open(tmp_path / "s.json")
