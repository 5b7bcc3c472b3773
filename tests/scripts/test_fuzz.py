"""The header parser under mutated files: a short run of the search, and whether it would tell a finding."""

import importlib.util
import random
import subprocess
import sys
from argparse import Namespace
from itertools import islice

import pytest
from checkout import ROOT
from made_part10 import element, part10

from harvester.dicom import header_limits

SCRIPT = ROOT / "scripts" / "fuzz.py"


@pytest.fixture(scope="module")
def fuzz():
    """The script, whose small limits end with these tests."""
    spec = importlib.util.spec_from_file_location("fuzz", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MAX_KEPT_BINARY", "MAX_KEPT_VALUE"):
            patch.setattr(header_limits, name, getattr(header_limits, name))
        spec.loader.exec_module(module)
        yield module


def test_two_thousand_mutated_headers_give_headers_or_our_errors(tmp_path) -> None:
    command = [sys.executable, SCRIPT, "--cases", "2000", "--seed", "1", "--findings", tmp_path]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2000 cases")
    assert "header" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_same_seed_gives_the_same_mutations(fuzz) -> None:
    originals = [part10(element(0x00080060, "CS", b"MR")), part10(element(0x00100020, "LO", b"id"))]
    first, second = (list(islice(fuzz.mutations(originals, 7), 300)) for _ in range(2))
    assert first == second
    assert first != list(islice(fuzz.mutations(originals, 8), 300))
    assert len(set(first)) > 250


@pytest.mark.parametrize("kind", ["parser", "columns", "Parquet", "another header", "compiled core"])
def test_a_finding_ends_the_search_and_saves_its_bytes(
    fuzz, tmp_path, monkeypatch, capsys, kind: str
) -> None:
    guilty = part10(element(0x00080060, "CS", b"MR"), element(0x00100020, "LO", b"guilty"))
    innocent = part10(element(0x00080060, "CS", b"MR"))
    monkeypatch.setattr(fuzz, "seeds", lambda _: [innocent, guilty, innocent])
    monkeypatch.setattr(fuzz, "ROWS_AT_ONCE", 3)
    if kind == "parser":
        parsed = fuzz.parsed

        def fail(data, *arguments, **named):
            if data == guilty:
                raise RecursionError("too deep")
            return parsed(data, *arguments, **named)

        monkeypatch.setattr(fuzz, "parsed", fail)
    elif kind == "another header":
        spelt = fuzz.spelt
        monkeypatch.setattr(
            fuzz, "spelt", lambda header: random.random() if len(header.elements) == 4 else spelt(header)
        )
    elif kind == "columns":
        append = fuzz.HeaderColumns.append

        def refuse(self, header):
            if len(header.elements) == 4:
                raise KeyError("no such column")
            append(self, header)

        monkeypatch.setattr(fuzz.HeaderColumns, "append", refuse)
    else:
        columns = fuzz.InstanceColumns if kind == "compiled core" else fuzz.HeaderColumns
        finish = columns.finish

        def lose(self):
            if "PatientID" in (arrays := finish(self)):
                raise OverflowError("more than 2 GB")
            return arrays

        monkeypatch.setattr(columns, "finish", lose)
    given = Namespace(corpus=tmp_path, seed=0, cases=3, seconds=60, findings=tmp_path / "found")
    assert fuzz.mutated(given) == 1
    (saved,) = (tmp_path / "found").iterdir()
    assert saved.read_bytes() == guilty
    assert str(saved) in capsys.readouterr().err
