"""Makes Dask workers die while they harvest; a separate module, because workers import it."""

import sys
from typing import Any

from checkout import ROOT
from distributed import WorkerPlugin

from harvester.dicom import HeaderColumns


class FaultPlugin(WorkerPlugin):
    """Makes Dask workers die; see `worker_faults`."""

    def __init__(self, fault: str) -> None:
        self._fault = fault

    def setup(self, worker: Any) -> None:
        del worker
        sys.path.insert(0, str(ROOT / "tests" / "worker_faults"))
        from worker_faults import install  # noqa: PLC0415  the folder is on the path only here

        self._append = HeaderColumns.append
        install(self._fault)

    def teardown(self, worker: Any) -> None:
        del worker
        HeaderColumns.append = self._append
