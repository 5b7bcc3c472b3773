"""Columns that kill the process which reads a certain object, as memory or a broken library would."""

import os
import signal
from typing import Any

from harvester.dicom import HeaderColumns

_SOP_INSTANCE_UID = 0x00080018


class DeadlyColumns(HeaderColumns):
    """Columns for all headers but those of one SOP Instance UID."""

    def __init__(self, uid: str) -> None:
        super().__init__()
        self._deadly = uid.encode()

    def append(self, header: Any) -> None:
        for element in header.elements:
            if element[0] == _SOP_INSTANCE_UID and bytes(element[2]).strip(b"\0 ") == self._deadly:
                os.kill(os.getpid(), signal.SIGKILL)
        super().append(header)


class DeadlyTogether(HeaderColumns):
    """Columns that no process survives filling with more than so many rows."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self._bearable = rows

    def append(self, header: Any) -> None:
        super().append(header)
        if self.rows > self._bearable:
            os.kill(os.getpid(), signal.SIGKILL)
