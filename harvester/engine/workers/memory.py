"""Limits the memory of worker processes: few malloc arenas, one allocator, no needless package."""

import ctypes
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Final

# Parts are made in changing threads: two shared arenas keep a fifth less memory than one for each (measured).
MEMORY: Final = {"MALLOC_ARENA_MAX": "2", "ARROW_DEFAULT_MEMORY_POOL": "system"}

# mallopt(3); the value is part of glibc's interface.
_M_ARENA_MAX: Final = -8


class _HiddenPackages(MetaPathFinder):
    """Reports packages as not installed, while it is entered."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def __enter__(self) -> None:
        sys.meta_path.insert(0, self)

    def __exit__(self, *_: object) -> None:
        sys.meta_path.remove(self)

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the interface's
        target: ModuleType | None = None,  # noqa: ARG002 - the interface's
    ) -> None:
        if fullname in self._names:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def keep_small() -> None:
    """Apply `MEMORY` to this process; call it at the entry of a program, while it has one thread.

    Arrow reads its setting when it is imported, which this function does, as it imports pydicom. Settings in
    the environment take precedence.
    """
    for name, value in MEMORY.items():
        os.environ.setdefault(name, value)
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not in musl
        if mallopt is not None:
            mallopt(_M_ARENA_MAX, int(os.environ["MALLOC_ARENA_MAX"]))
    _hide_pandas_from_arrow()
    # With these pydicom downloads test files; they are a twentieth of a crawl's start.
    with _HiddenPackages("requests", "tqdm"):
        import pydicom  # noqa: F401, PLC0415


def _hide_pandas_from_arrow() -> None:
    """Keep Arrow from importing pandas, which it does once to test whether a list is a Series.

    The import takes 0.2 s and 37 MB. `to_pandas` and `import pandas` work all the same afterwards.
    """
    if "pandas" in sys.modules:
        return
    import pyarrow as pa  # noqa: PLC0415 - after its setting is made

    with _HiddenPackages("pandas"):
        pa.array([])
