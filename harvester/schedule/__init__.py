"""Scheduled crawls and audits: when each is due, how it ended, and who is notified."""

from harvester.schedule.job import Job, load_job
from harvester.schedule.run import FinishedRun, run_due, run_forever
from harvester.schedule.state import State

__all__ = ["FinishedRun", "Job", "State", "load_job", "run_due", "run_forever"]
