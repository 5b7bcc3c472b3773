"""Notifies a webhook or a command of the end of a scheduled run, with a timeout."""

import json
import logging
import subprocess
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import anyio

from harvester.config import ScheduleConfig
from harvester.config.certificates import trusted_certificates
from harvester.config.proxies import Proxies
from harvester.errors import ConfigError

_logger = logging.getLogger("harvester")

_TIMEOUT_SECONDS: Final = 30.0


async def notify(schedule: ScheduleConfig, facts: Mapping[str, Any]) -> None:
    """Send the facts of a run as one JSON object; an error is logged only.

    Args:
        schedule: Holds the webhook and the command.
        facts: The facts; with `notify_on = "failure"` they are sent if `failed` is true.
    """
    if schedule.notify_on == "failure" and not facts["failed"]:
        return
    body = json.dumps(facts)
    if schedule.webhook is not None:
        await _post(schedule.webhook.whole, body)
    if schedule.command:
        await _run([word.whole for word in schedule.command], body)


async def _post(url: str, body: str) -> None:
    headers = {"Content-Type": "application/json"}
    try:
        connector = aiohttp.TCPConnector(ssl=trusted_certificates() or True)
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
        proxy = Proxies.of_environment().of(url)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False, proxy=proxy) as response,
        ):
            if response.status >= 300:
                _logger.warning("schedule.webhook: the server responded with status %d", response.status)
    except ConfigError as error:  # of the proxies or certificates that the environment names
        _logger.warning("schedule.webhook: %s", error)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        _logger.warning("schedule.webhook: %s", type(error).__name__)  # without the URL: it may hold a secret


async def _run(command: list[str], body: str) -> None:
    try:
        with anyio.fail_after(_TIMEOUT_SECONDS):
            process = await anyio.run_process(
                command, input=body.encode(), stdout=subprocess.DEVNULL, stderr=None, check=False
            )
    except TimeoutError:
        _logger.warning("schedule.command: stopped after %.0f s", _TIMEOUT_SECONDS)
    except OSError as error:
        _logger.warning("schedule.command: %s", error.strerror or type(error).__name__)
    else:
        if process.returncode:
            _logger.warning("schedule.command: ended with status %d", process.returncode)
