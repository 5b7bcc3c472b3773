"""The compiled core is loaded where it is there and fits; else `status` says why not."""

import importlib.util
import os
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from harvester.dicom import compiled

FOLDER = Path(compiled.__file__).parent
LIBRARIES = ("libharvester_compiled.so", "libharvester_compiled.dylib", "harvester_compiled.dll")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the package without a library."""
    return shutil.copytree(FOLDER, tmp_path / "compiled", ignore=shutil.ignore_patterns(*LIBRARIES, "src"))


def load(folder: Path) -> ModuleType:
    """The package in a folder, as a program that starts has it."""
    spec = importlib.util.spec_from_file_location("copy_of_compiled", folder / "__init__.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_core_is_loaded_unless_there_is_a_reason() -> None:
    assert (compiled.library() is not None) == (compiled.status() == "yes")
    if os.environ.get("HARVESTER_COMPILED") != "0" and shutil.which("cargo"):
        assert compiled.status() == "yes"


def test_a_variable_switches_the_core_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARVESTER_COMPILED", "0")
    module = load(FOLDER)
    assert module.library() is None
    assert module.status() == "no (HARVESTER_COMPILED=0)"


def test_a_missing_library_is_a_reason(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARVESTER_COMPILED", raising=False)
    module = load(folder)
    assert module.library() is None
    assert "harvester_compiled" in module.status()
    assert "is not installed" in module.status()


def test_a_damaged_library_is_a_reason(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARVESTER_COMPILED", raising=False)
    for name in LIBRARIES:
        (folder / name).write_bytes(b"\x7fELF, and no more")
    module = load(folder)
    assert module.library() is None
    assert "cannot be loaded" in module.status()
