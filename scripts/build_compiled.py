"""Builds the compiled core with cargo: as a hook of wheels and editable installs, and run by itself.

scripts/compiled runs it, and puts the library into the source tree, where an editable install loads it.
HARVESTER_COMPILED=0 leaves it out. HARVESTER_COMPILED=1 requires it; otherwise it is left out where cargo is
missing or fails, and harvester works without it. cargo's own variables, such as CARGO_BUILD_TARGET, hold.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

CRATE = Path("harvester", "dicom", "compiled")  # in the source tree and in the wheel
SWITCH = "HARVESTER_COMPILED"
TARGET = "CARGO_TARGET_DIR"
MESSAGES = "json-render-diagnostics"  # what is built on stdout, errors as a person reads them on stderr


def get_build_hook() -> type:
    """The hook, as hatchling asks for it; only then is hatchling there."""
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface  # noqa: PLC0415
    from packaging.tags import platform_tags  # noqa: PLC0415

    class CompiledCoreHook(BuildHookInterface[Any]):
        """Adds the library to a wheel, which then is for one platform and for every Python version."""

        PLUGIN_NAME = "custom"

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            """Build the library; an editable install gets it in the source tree, beside its loader."""
            root = Path(self.root)
            library = build_if_possible(root)
            if library is None:
                return
            if version == "editable":
                install(library, root)
                return
            # On Linux without a promise about the C library; elsewhere for this system or a newer one.
            is_linux = sys.platform == "linux"
            platform = sysconfig.get_platform().replace("-", "_") if is_linux else next(platform_tags())
            build_data["force_include"][str(library)] = str(CRATE / library.name)
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{platform}"

    return CompiledCoreHook


def build_if_possible(root: Path) -> Path | None:
    """The built library; None, and a line that says why, if there is none and none is required."""
    wanted = os.environ.get(SWITCH, "")
    if wanted == "0":
        print(f"the compiled core is left out: {SWITCH}=0", file=sys.stderr)
        return None
    try:
        return build(root)
    except OSError as error:
        if wanted == "1":
            raise SystemExit(f"the compiled core is required by {SWITCH}=1, but {error}") from None
        print(f"the compiled core is left out, pure Python does its work: {error}", file=sys.stderr)
        return None


def build(root: Path) -> Path:
    """Build the library, which takes a second if nothing has changed.

    Raises:
        OSError: There is no cargo, or it failed and has printed why.
    """
    cargo = shutil.which("cargo")
    if cargo is None:
        raise FileNotFoundError("cargo is not installed")
    done = subprocess.run(
        [*(cargo, "build", "--quiet", "--release", "--locked", "--offline"), f"--message-format={MESSAGES}"],
        cwd=root / CRATE,
        env={TARGET: str(root / "build" / "compiled"), **os.environ},
        check=False,
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode != 0:
        raise ChildProcessError(f"cargo failed with exit status {done.returncode}")
    for message in map(json.loads, done.stdout.splitlines()):
        if message["reason"] == "compiler-artifact" and "cdylib" in message["target"]["crate_types"]:
            return next(
                Path(name) for name in message["filenames"] if name.endswith((".so", ".dylib", ".dll"))
            )
    raise FileNotFoundError("cargo made no library")


def install(library: Path, root: Path) -> None:
    """Put the library beside its loader; processes that use an older one keep it."""
    installed = root / CRATE / library.name
    if installed.exists() and installed.read_bytes() == library.read_bytes():
        return
    written = installed.with_name(f"{installed.name}.{os.getpid()}")
    try:
        shutil.copy(library, written)
        written.replace(installed)
    finally:
        written.unlink(missing_ok=True)


def main() -> None:
    """Build the library into the source tree."""
    root = Path(__file__).parents[1]
    library = build_if_possible(root)
    if library is not None:
        install(library, root)


if __name__ == "__main__":
    main()
