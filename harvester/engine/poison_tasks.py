"""Brings a shard home although workers die over it: again, alone, at last without the object that kills."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from harvester.engine.plan import shard_of
from harvester.engine.shard import Outcome
from harvester.engine.shard_task import ShardTask
from harvester.engine.workers.processes import Workers
from harvester.errors import WorkerDiedError, WorkerError
from harvester.model import ListedObject, Series, Shard

_logger = logging.getLogger("harvester")

_DEATHS: Final = 3

TaskResult = tuple[ShardTask, Outcome]
"""A task that was done, and what came of it."""


@dataclass(frozen=True, slots=True)
class PoisonTaskIsolation:
    """Runs tasks in workers that may die.

    After a first death, which may have been another task's fault, a task runs alone. After the third its
    shard is split in halves, down to a single series; of that, halves of its objects are tried, down to
    the single ones that kill, which become failures.

    Args:
        workers: Take the tasks.
        objects: Finds the objects that a task of one series will read.
        committed: Tells whether a task was committed before its worker died, and what came of it.
    """

    workers: Workers
    objects: Callable[[ShardTask], Awaitable[Sequence[ListedObject]]]
    committed: Callable[[ShardTask], Awaitable[Outcome | None]]

    async def harvest(self, task: ShardTask, deaths: int = 0) -> list[TaskResult]:
        """Harvest a shard, or all of its pieces.

        Raises:
            WorkerError: Workers cannot be started, or die although they read nothing.
            UserError: The dataset cannot be written.
        """
        while deaths < _DEATHS:
            try:
                outcome = await (self.workers.harvest_alone if deaths else self.workers.harvest)(task)
            except WorkerDiedError as death:
                deaths += 1
                _logger.warning("shard %s: %s; it is harvested again", task.shard.name, death)
                done = await self.committed(task)
                if done is not None:
                    return [(task, done)]
            else:
                return [(task, outcome)]
        if len(task.shard.series) == 1:
            return [(task, await self._without_killers(task))]
        landed = []
        for piece in _halves(task):
            landed += await self.harvest(piece, deaths=_DEATHS - 1)
        return landed

    async def _without_killers(self, task: ShardTask) -> Outcome:
        (series,) = task.shard.series
        objects = sorted(await self.objects(task), key=lambda listed: listed.ref.url)
        killers = await self._killers(task, series, objects)
        everything = frozenset(listed.ref.url for listed in objects)
        # Where no object kills by itself, it is their sum: then there is no row of any of them.
        for given_up in (killers, everything) if killers else (everything,):
            _logger.warning("series %s: %d objects are given up", series.key, len(given_up))
            for _ in range(_DEATHS):
                try:
                    return await self.workers.harvest_alone(replace(task, given_up=given_up))
                except WorkerDiedError as death:
                    last = death
                    done = await self.committed(task)
                    if done is not None:
                        return done
        raise WorkerError(f"series {series.key}: worker processes die although they read nothing ({last})")

    async def _killers(
        self, task: ShardTask, series: Series, objects: Sequence[ListedObject]
    ) -> frozenset[str]:
        """The objects that kill a worker by themselves."""
        if not objects:
            return frozenset()
        # One that is alone is condemned by three deaths, so that it is not for another's fault.
        for _ in range(_DEATHS if len(objects) == 1 else 1):
            if await self._is_survived(task, series, objects):
                return frozenset()
        if len(objects) == 1:
            return frozenset({objects[0].ref.url})
        middle = len(objects) // 2
        left = await self._killers(task, series, objects[:middle])
        return left | await self._killers(task, series, objects[middle:])

    async def _is_survived(self, task: ShardTask, series: Series, objects: Sequence[ListedObject]) -> bool:
        piece = replace(series, objects=tuple(objects), instance_count=None)
        try:
            await self.workers.harvest_alone(
                ShardTask(task.crawl, Shard(task.shard.name, (piece,)), trial=True)
            )
        except WorkerDiedError:
            return False
        return True


def _halves(task: ShardTask) -> tuple[ShardTask, ShardTask]:
    series = task.shard.series
    pieces = series[: len(series) // 2], series[len(series) // 2 :]
    if task.again is not None:  # what is replaced is the whole shard's commit
        shards = [replace(task.shard, series=piece) for piece in pieces]
    else:
        shards = [shard_of(piece) for piece in pieces]
    return replace(task, shard=shards[0]), replace(task, shard=shards[1])
