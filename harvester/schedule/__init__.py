"""Crawls and audits by the clock: when each is due, what became of it, and who is told."""

from harvester.schedule.job import Job, load_job
from harvester.schedule.run import Ran, run_due, run_for_ever
from harvester.schedule.state import State

__all__ = ["Job", "Ran", "State", "load_job", "run_due", "run_for_ever"]
