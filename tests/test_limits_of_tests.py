"""`conftest` keeps every test's time limit and examples, and ends its processes."""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from checkout import ROOT


def outcome(folder: Path, source: str, *arguments: str) -> str:
    """What pytest prints of one test under this suite's `conftest`."""
    (folder / "conftest.py").symlink_to(ROOT / "tests" / "conftest.py")
    (folder / "test_made.py").write_text(dedent(source))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib"]
    path = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    done = subprocess.run(
        [*command, *arguments, f"--rootdir={folder}", str(folder)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_a_property_that_hangs_fails_at_its_limit_and_is_not_made_small(tmp_path: Path) -> None:
    source = """
        from hypothesis import given, strategies

        @given(strategies.lists(strategies.integers(), max_size=50))
        def test_hangs(numbers):
            while sum(numbers) > 100:
                pass
    """
    printed = outcome(tmp_path, source, "--timeout=2")
    assert "TestLimitError" in printed
    assert "1 failed" in printed


def test_a_property_sees_the_same_examples_in_each_run(tmp_path: Path) -> None:
    source = """
        from hypothesis import given, strategies

        @given(strategies.integers())
        def test_prints(number):
            with open("seen", "a") as file:
                file.write(f"{number}\\n")
    """
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        assert "1 passed" in outcome(folder, source)
    assert (first / "seen").read_text() == (second / "seen").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
def test_a_failed_test_leaves_no_process_not_even_one_in_a_session_of_its_own(tmp_path: Path) -> None:
    source = """
        import subprocess, sys

        def test_leaves():
            program = "import time; time.sleep(600)"
            process = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
            open("left", "w").write(str(process.pid))
            assert process.pid == 0
    """
    assert "1 failed" in outcome(tmp_path, source)
    left = Path(f"/proc/{(tmp_path / 'left').read_text()}/stat")
    assert not left.exists() or ") Z " in left.read_text()
