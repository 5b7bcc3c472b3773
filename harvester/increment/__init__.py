"""What of a selection is new or has changed since it was last harvested, and what of the dataset is over."""

from harvester.increment.done import Done
from harvester.increment.increment import Increment
from harvester.increment.survey import Survey

__all__ = ["Done", "Increment", "Survey"]
