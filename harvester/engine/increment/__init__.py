"""Determines the new and changed objects of a selection, and the superseded rows of the dataset."""

from harvester.engine.increment.committed import CommittedSeries
from harvester.engine.increment.done import Done
from harvester.engine.increment.increment import Increment

__all__ = ["CommittedSeries", "Done", "Increment"]
