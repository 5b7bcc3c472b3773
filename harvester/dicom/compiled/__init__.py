"""Loads the compiled core, a C library; without it, pure Python gives the same results, slower."""

import ctypes
import os
import sys
from functools import cache
from pathlib import Path
from typing import Final

__all__ = ["library", "status"]

ABI_VERSION: Final = 2  # that of src/lib.rs
_SWITCH: Final = "HARVESTER_COMPILED"  # "0" switches the core off
_NAMES: Final = {"win32": "harvester_compiled.dll", "darwin": "libharvester_compiled.dylib"}
_PATH: Final = Path(__file__).with_name(_NAMES.get(sys.platform, "libharvester_compiled.so"))


def library() -> ctypes.CDLL | None:
    """The loaded library; None if it is not there, does not fit or is switched off."""
    return _load()[0]


def status() -> str:
    """`yes`, or `no` with the reason in brackets."""
    loaded, reason = _load()
    return f"no ({reason})" if loaded is None else "yes"


@cache
def _load() -> tuple[ctypes.CDLL | None, str]:
    """The library, or the reason why there is none."""
    if os.environ.get(_SWITCH) == "0":
        return None, f"{_SWITCH}=0"
    if not _PATH.exists():
        return None, f"{_PATH.name} is not installed; pure Python is used"
    try:
        loaded = ctypes.CDLL(os.fspath(_PATH))
        version = loaded.harvester_abi_version
    except (OSError, AttributeError) as error:
        return None, f"{_PATH.name} cannot be loaded: {error}"
    version.restype = ctypes.c_uint32
    version.argtypes = []
    found = version()
    if found != ABI_VERSION:
        return None, f"{_PATH.name} has interface {found}, not {ABI_VERSION}; build or install it again"
    return loaded, ""
