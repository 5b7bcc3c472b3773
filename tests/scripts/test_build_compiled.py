"""Wheels bring the compiled core where cargo is, and are pure Python elsewhere."""

import ctypes
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from checkout import ROOT

CRATE = "harvester/dicom/compiled"
NEEDS_CARGO = pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not installed")


def hatchling(root: Path, *arguments: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    variables = {name: value for name, value in os.environ.items() if name != "HARVESTER_COMPILED"}
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", *arguments],
        cwd=root,
        env={**variables, **environment},
        check=False,
        capture_output=True,
        text=True,
    )


def wheel(root: Path, folder: Path, **environment: str) -> tuple[Path, str]:
    """A wheel that is built in a folder, and what was printed."""
    built = hatchling(root, "-t", "wheel", "-d", folder, **environment)
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return path, built.stderr


def members(path: Path) -> set[str]:
    """The names in a wheel of what belongs to the compiled core."""
    return {name for name in zipfile.ZipFile(path).namelist() if name.startswith(f"{CRATE}/")}


def tag(path: Path) -> tuple[str, str]:
    """The tag of a wheel, and whether it is the same for all platforms."""
    archive = zipfile.ZipFile(path)
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/WHEEL"))
    headers = Parser().parsestr(archive.read(name).decode())
    return headers["Tag"], headers["Root-Is-Purelib"]


# Python 3.11.4 and later want to be told; a Debian's 3.11.2 does not know the word.
SAFELY = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}


def is_python(name: str) -> bool:
    return name.endswith(".py")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source distribution."""
    folder = tmp_path_factory.mktemp("source")
    built = hatchling(ROOT, "-t", "sdist", "-d", folder)
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        archive.extractall(folder, **SAFELY)
    return folder / path.name.removesuffix(".tar.gz")


def test_a_source_distribution_has_what_builds_the_core_and_nothing_that_was_built(source: Path) -> None:
    there = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    crate = ROOT / CRATE
    sources = {f"{CRATE}/{path.relative_to(crate).as_posix()}" for path in crate.glob("src/**/*.rs")}
    assert {*sources, f"{CRATE}/Cargo.toml", f"{CRATE}/Cargo.lock", "scripts/build_compiled.py"} <= there
    assert {name for name in there if name.endswith((".so", ".dylib", ".dll")) or "/target/" in name} == set()


def test_a_wheel_without_the_core_is_for_every_platform(tmp_path: Path) -> None:
    path, _ = wheel(ROOT, tmp_path, HARVESTER_COMPILED="0")
    assert tag(path) == ("py3-none-any", "true")
    assert f"{CRATE}/__init__.py" in members(path)
    assert [name for name in members(path) if not is_python(name)] == []


@NEEDS_CARGO
def test_a_wheel_with_the_core_is_for_one_platform_and_every_python(tmp_path: Path) -> None:
    path, _ = wheel(ROOT, tmp_path, HARVESTER_COMPILED="1")
    kind, is_pure = tag(path)
    assert kind.startswith("py3-none-")
    assert (kind.endswith("-any"), is_pure) == (False, "false")
    (library,) = (name for name in members(path) if not is_python(name))
    loaded = ctypes.CDLL(zipfile.ZipFile(path).extract(library, tmp_path))
    assert loaded.harvester_abi_version() > 0


def test_without_cargo_the_wheel_is_pure_and_the_build_says_so(tmp_path: Path) -> None:
    path, said = wheel(ROOT, tmp_path, PATH="")
    assert tag(path) == ("py3-none-any", "true")
    (line,) = (line for line in said.splitlines() if "compiled core" in line)
    assert "cargo is not installed" in line


def test_a_required_core_that_cannot_be_built_is_an_error(tmp_path: Path) -> None:
    built = hatchling(ROOT, "-t", "wheel", "-d", tmp_path, PATH="", HARVESTER_COMPILED="1")
    assert built.returncode != 0
    assert "required by HARVESTER_COMPILED=1, but cargo is not installed" in built.stderr
    assert list(tmp_path.iterdir()) == []


@NEEDS_CARGO
def test_sources_that_do_not_compile_give_a_pure_wheel(source: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(source, tmp_path / "broken")
    (broken / CRATE / "src" / "lib.rs").write_text("fn broken( {}\n")
    path, said = wheel(broken, tmp_path)
    assert tag(path) == ("py3-none-any", "true")
    assert "error: " in said
    assert "the compiled core is left out, pure Python does its work: cargo" in said


@pytest.mark.slow
@NEEDS_CARGO
def test_the_core_is_built_from_a_source_distribution(source: Path, tmp_path: Path) -> None:
    path, _ = wheel(source, tmp_path, HARVESTER_COMPILED="1", CARGO_TARGET_DIR=str(tmp_path / "target"))
    assert [name for name in members(path) if not is_python(name)]
