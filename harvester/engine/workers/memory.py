"""Keeps the memory of a process that harvests small: few arenas, one allocator, no pandas."""

import ctypes
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Final

# Parts are made in changing threads: few arenas, which they share, keep a fifth less memory (measured).
MEMORY: Final = {"MALLOC_ARENA_MAX": "2", "ARROW_DEFAULT_MEMORY_POOL": "system"}

# mallopt(3); the value is part of glibc's interface.
_M_ARENA_MAX: Final = -8


class _Hidden(MetaPathFinder):
    """Says of one package that it is not installed."""

    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the interface's
        target: ModuleType | None = None,  # noqa: ARG002 - the interface's
    ) -> None:
        if fullname == self._name:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def keep_small() -> None:
    """Set this process up as `MEMORY` does those that it starts; for a program's entry, in its one thread.

    Arrow reads its setting when it is loaded, which should be here. What an operator has set stays.
    """
    for name, value in MEMORY.items():
        os.environ.setdefault(name, value)
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not in musl
        if mallopt is not None:
            mallopt(_M_ARENA_MAX, int(os.environ["MALLOC_ARENA_MAX"]))
    _leave_pandas_out()


def _leave_pandas_out() -> None:
    """Let Arrow conclude that there is no pandas, which it else loads to see whether a list is a Series.

    That takes 0.2 s and 37 MB. It looks once; `to_pandas` and `import pandas` work all the same.
    """
    if "pandas" in sys.modules:
        return
    import pyarrow as pa  # noqa: PLC0415 - not before its setting is made

    hidden = _Hidden("pandas")
    sys.meta_path.insert(0, hidden)
    try:
        pa.array([])
    finally:
        sys.meta_path.remove(hidden)
