"""Run by Python at the start of a process; see `worker_faults`."""

import os

from worker_faults import FAULT, install

if FAULT in os.environ:
    install(os.environ[FAULT])
