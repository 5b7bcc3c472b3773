"""Makes processes die while they harvest, as a broken library or a lack of memory would.

A process that starts with this folder on PYTHONPATH and with `FAULT` in its environment runs
`sitecustomize`, which installs the fault: worker processes of a crawl do, the test's own process does not.
"""

import os
import signal
from typing import Any

FAULT = "HARVESTER_TEST_FAULT"

_SOP_INSTANCE_UID = 0x00080018


def install(fault: str) -> None:
    """Kill this process at a header of one SOP Instance UID ("uid:UID"), or at a part's row N ("row:N")."""
    from harvester.dicom import InstanceColumns  # noqa: PLC0415  slow, and only worker processes need it

    kind, _, value = fault.partition(":")
    append = InstanceColumns.append

    def append_or_die(columns: InstanceColumns, header: Any) -> None:
        if kind == "uid":
            for element in header.elements:
                if element[0] == _SOP_INSTANCE_UID and bytes(element[2]).strip(b"\0 ") == value.encode():
                    os.kill(os.getpid(), signal.SIGKILL)
        append(columns, header)
        if kind == "row" and columns.rows >= int(value):
            os.kill(os.getpid(), signal.SIGKILL)

    InstanceColumns.append = append_or_die
