"""Tells a webhook or a command how a scheduled run ended, within bounded time."""

import json
import logging
import subprocess
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import anyio

from harvester.config import ScheduleConfig

_logger = logging.getLogger("harvester")

_SECONDS: Final = 30.0


async def tell(schedule: ScheduleConfig, facts: Mapping[str, Any]) -> None:
    """Send what is known of a run as one JSON object; that nobody hears it is logged, and no more.

    Args:
        schedule: Whom to tell.
        facts: What of; `failed` says whether those are told who want to hear of failures only.
    """
    if schedule.notify_on == "failure" and not facts["failed"]:
        return
    body = json.dumps(facts)
    if schedule.webhook is not None:
        await _post(schedule.webhook, body)
    if schedule.command:
        await _run(schedule.command, body)


async def _post(url: str, body: str) -> None:
    headers = {"Content-Type": "application/json"}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_SECONDS)) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as answer,
        ):
            if answer.status >= 300:
                _logger.warning("schedule.webhook: the server answers %d", answer.status)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        _logger.warning("schedule.webhook: %s", type(error).__name__)  # not the address: it may be a secret


async def _run(command: tuple[str, ...], body: str) -> None:
    try:
        with anyio.fail_after(_SECONDS):
            done = await anyio.run_process(
                list(command), input=body.encode(), stdout=subprocess.DEVNULL, stderr=None, check=False
            )
    except TimeoutError:
        _logger.warning("schedule.command: %s took more than %.0f s and was ended", command[0], _SECONDS)
    except OSError as error:
        _logger.warning("schedule.command: %s: %s", command[0], error.strerror or error)
    else:
        if done.returncode:
            _logger.warning("schedule.command: %s ended with status %d", command[0], done.returncode)
