"""Determines what of a selection is new or has changed, and what of the dataset is superseded."""

from harvester.engine.increment.committed import CommittedSeries
from harvester.engine.increment.done import Done
from harvester.engine.increment.increment import Increment

__all__ = ["CommittedSeries", "Done", "Increment"]
