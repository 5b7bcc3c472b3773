"""What of a selection is new or has changed since it was last harvested, and what of the dataset is over."""

from harvester.engine.increment.committed import CommittedSeries
from harvester.engine.increment.done import Done
from harvester.engine.increment.increment import Increment

__all__ = ["CommittedSeries", "Done", "Increment"]
