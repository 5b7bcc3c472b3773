"""Isolates the objects that kill worker processes, so that all other objects of a shard are harvested."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from harvester.engine.plan import shard_of
from harvester.engine.shard import ShardResult
from harvester.engine.shard_task import ShardTask
from harvester.engine.workers.processes import Workers
from harvester.errors import WorkerDiedError, WorkerError
from harvester.model import ListedObject, Series, Shard

_logger = logging.getLogger("harvester")

_DEATHS: Final = 3


@dataclass(frozen=True, slots=True)
class PoisonTaskIsolation:
    """Runs tasks in workers that may die.

    After the first death, which another task of the worker may have caused, a task runs alone. After the
    third its shard is split in halves, down to a single series. The objects of that series are bisected
    down to those that kill a worker; these become failures.

    Args:
        workers: Run the tasks.
        objects: Lists the objects that a task of one series reads.
        committed: The result of a task that was committed before its worker died, else None.
    """

    workers: Workers
    objects: Callable[[ShardTask], Awaitable[Sequence[ListedObject]]]
    committed: Callable[[ShardTask], Awaitable[ShardResult | None]]

    async def harvest(self, task: ShardTask, deaths: int = 0) -> list[tuple[ShardTask, ShardResult]]:
        """Harvest a shard, whole or in pieces.

        Returns:
            Each task that was done, and its result.

        Raises:
            WorkerError: Workers cannot be started, or die although they read nothing.
            UserError: The dataset cannot be written.
        """
        while deaths < _DEATHS:
            try:
                result = await (self.workers.harvest_alone if deaths else self.workers.harvest)(task)
            except WorkerDiedError as death:
                deaths += 1
                _logger.warning("shard %s: %s; it is harvested again", task.shard.name, death)
                committed = await self.committed(task)
                if committed is not None:
                    return [(task, committed)]
            else:
                return [(task, result)]
        if len(task.shard.series) == 1:
            return [(task, await self._without_killers(task))]
        results = []
        for piece in _halves(task):
            results += await self.harvest(piece, deaths=_DEATHS - 1)
        return results

    async def _without_killers(self, task: ShardTask) -> ShardResult:
        (series,) = task.shard.series
        objects = sorted(await self.objects(task), key=lambda listed: listed.ref.url)
        killers = await self._killers(task, series, objects)
        everything = frozenset(listed.ref.url for listed in objects)
        # If no object kills by itself, their sum does: then none of them gets a row.
        for given_up in (killers, everything) if killers else (everything,):
            _logger.warning("series %s: %d objects are given up", series.key, len(given_up))
            for _ in range(_DEATHS):
                try:
                    return await self.workers.harvest_alone(replace(task, given_up=given_up))
                except WorkerDiedError as death:
                    last = death
                    committed = await self.committed(task)
                    if committed is not None:
                        return committed
        raise WorkerError(f"series {series.key}: worker processes die although they read nothing ({last})")

    async def _killers(
        self, task: ShardTask, series: Series, objects: Sequence[ListedObject]
    ) -> frozenset[str]:
        """URLs of the objects that kill a worker by themselves."""
        if not objects:
            return frozenset()
        # A single object is given up after three deaths, so that one death by another cause does not count.
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
    if task.retry is not None:  # a retry replaces the commit of the whole shard, so its name stays
        shards = [replace(task.shard, series=piece) for piece in pieces]
    else:
        shards = [shard_of(piece) for piece in pieces]
    return replace(task, shard=shards[0]), replace(task, shard=shards[1])
