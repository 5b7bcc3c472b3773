"""The files for systemd, cron and Kubernetes are what those take, as far as this machine can tell."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer
import yaml
from checkout import ROOT
from cronsim import CronSim

from harvester.cli import application
from harvester.config import CrawlConfig

HADOLINT = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
SHELLCHECK = shutil.which("shellcheck")
DEPLOY = ROOT / "scripts" / "deploy"
COMMANDS = typer.main.get_command(application()).commands


def parses(words: list[str]) -> bool:
    return COMMANDS[words[0]].make_context(words[0], words[1:]) is not None


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_service_and_the_timer(tmp_path: Path) -> None:
    for name in ("harvester.service", "harvester.timer"):
        shutil.copy(DEPLOY / name, tmp_path)
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *sorted(map(str, tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    complaints = [line for line in verified.stderr.splitlines() if "harvester" in line]
    assert complaints == []
    calendar = re.search(r"OnCalendar=(.*)", (DEPLOY / "harvester.timer").read_text())
    assert calendar is not None
    subprocess.run(["systemd-analyze", "calendar", calendar[1]], capture_output=True, check=True, timeout=300)


def test_the_service_types_a_command_that_parses() -> None:
    found = re.search(r"^ExecStart=(.*)$", (DEPLOY / "harvester.service").read_text(), re.MULTILINE)
    assert found is not None
    words = shlex.split(found[1])
    assert parses(words[words.index("/opt/harvester/.venv/bin/harvester") + 1 :])


def test_the_line_for_cron_is_one() -> None:
    lines = [line for line in (DEPLOY / "harvester.cron").read_text().splitlines() if line[:1] not in "#P"]
    (line,) = lines
    next(CronSim(" ".join(line.split()[:5]), datetime(2026, 1, 1, tzinfo=UTC)))
    assert "%" not in line, "cron would take it for a new line"
    words = shlex.split(line)
    assert parses(words[words.index("/opt/harvester/.venv/bin/harvester") + 1 :])


@pytest.mark.skipif(SHELLCHECK is None, reason="shellcheck is not installed")
def test_the_shell_takes_the_line_for_cron() -> None:
    line = (DEPLOY / "harvester.cron").read_text().splitlines()[-1]
    command = line.split(maxsplit=6)[-1]
    checked = [str(SHELLCHECK), "--shell=sh", "--severity=style", "-"]
    said = subprocess.run(
        checked, input=f"{command}\n", capture_output=True, text=True, check=False, timeout=300
    )
    assert (said.returncode, said.stdout) == (0, "")


@pytest.mark.parametrize("release", ["1.29", "1.31", "1.99"], ids=["oldest", "policies are stable", "newest"])
def test_the_api_of_kubernetes_takes_the_cronjob(release: str) -> None:
    schemas = pytest.importorskip(
        "kubernetes_validate",
        reason="kubernetes-validate is not installed: pip install 'dicom-harvester[deploy]'",
    )
    version = min(release, schemas.latest_version(), key=lambda text: tuple(map(int, text.split("."))))
    documents = list(yaml.safe_load_all((DEPLOY / "cronjob.yaml").read_text()))
    for document in documents:
        schemas.validate(document, version, strict=True)
    misspelt = documents[1]
    misspelt["spec"]["concurrencyPolicie"] = misspelt["spec"].pop("concurrencyPolicy")
    with pytest.raises(schemas.ValidationError, match="concurrencyPolicie"):
        schemas.validate(misspelt, version, strict=True)


def test_the_cronjob_has_what_kubernetes_asks_for() -> None:
    configuration, cronjob = yaml.safe_load_all((DEPLOY / "cronjob.yaml").read_text())
    assert (cronjob["apiVersion"], cronjob["kind"]) == ("batch/v1", "CronJob")
    spec = cronjob["spec"]
    assert set(spec) <= {
        "schedule",
        "timeZone",
        "concurrencyPolicy",
        "startingDeadlineSeconds",
        "jobTemplate",
    }
    next(CronSim(spec["schedule"], datetime(2026, 1, 1, tzinfo=UTC)))
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never", "a podFailurePolicy asks for it"
    (container,) = pod["containers"]
    assert parses(container["args"])
    assert {mount["name"] for mount in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]}
    CrawlConfig.model_validate(tomllib.loads(configuration["data"]["crawl.toml"]))


@pytest.mark.skipif(
    HADOLINT is None, reason="hadolint is not installed: pip install 'dicom-harvester[deploy]'"
)
def test_the_container_file_is_as_its_linter_wants_it(tmp_path: Path) -> None:
    def complaints(file: Path) -> list[str]:
        told = subprocess.run(
            [str(HADOLINT), "--no-color", str(file)], capture_output=True, text=True, check=False, timeout=300
        )
        assert not told.stderr
        return told.stdout.splitlines()

    assert complaints(DEPLOY / "Containerfile") == []
    sloppy = tmp_path / "Containerfile"
    sloppy.write_text((DEPLOY / "Containerfile").read_text().replace("python:3.12-slim", "python"))
    assert any("DL3006" in line for line in complaints(sloppy)), "the linter looks at nothing"


def test_the_container_file_copies_what_is_there_and_does_not_run_as_root() -> None:
    lines = [
        line for line in (DEPLOY / "Containerfile").read_text().splitlines() if line[:1] not in ("#", "")
    ]
    assert lines[0].startswith("FROM ")
    assert {line.split()[0] for line in lines} <= {
        "FROM",
        "WORKDIR",
        "COPY",
        "RUN",
        "USER",
        "ENTRYPOINT",
        "CMD",
    }
    copied = [line.split()[1:] for line in lines if line.startswith("COPY ") and "--from=" not in line]
    assert [name for *names, _ in copied for name in names if not (DEPLOY.parents[1] / name).exists()] == []
    assert [line for line in lines if line.startswith("USER")] == ["USER 65534"]


def test_the_container_file_copies_all_that_a_wheel_is_built_from(tmp_path: Path) -> None:
    root = DEPLOY.parents[1]
    built = tmp_path / "built"
    for line in (DEPLOY / "Containerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from=" not in line:
            *names, folder = line.split()[1:]
            for name in names:
                if (root / name).is_dir():
                    shutil.copytree(
                        root / name, built / folder, ignore=shutil.ignore_patterns("target", "*.so")
                    )
                else:
                    (built / folder).mkdir(parents=True, exist_ok=True)
                    shutil.copy(root / name, built / folder)
    wheel = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    told = subprocess.run(
        wheel,
        cwd=built,
        env={**os.environ, "HARVESTER_COMPILED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert list(tmp_path.glob("*.whl"))
