"""`harvester frames`: single frames of an object, as files."""

import json
import sys

import numpy as np
import pydicom
import pytest
from frame_reading import made
from harvester_program import Ended
from harvester_program import run as run_as_a_program
from header_feeding import CORPUS, needs_corpus
from made_part10 import element, part10
from pydicom.pixels import pixel_array

from harvester.cli import main

JPEG_START = b"\xff\xd8\xff\xe0"


@pytest.fixture
def run(capsys, monkeypatch):
    """Runs the program in this process: its imports take longer than what it does."""

    def run_here(*arguments, cwd=None):
        monkeypatch.setattr(sys, "argv", ["harvester", *map(str, arguments)])
        if cwd is not None:
            monkeypatch.chdir(cwd)
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Ended(int(ended.value.code or 0), printed.out, printed.err)

    return run_here


@pytest.fixture
def slide(tmp_path):
    path = tmp_path / "slide.dcm"
    path.write_bytes(made([[JPEG_START + bytes([number] * 6)] for number in range(1, 13)]))
    return path


def test_frames_are_written_as_they_are(slide, tmp_path):
    done = run_as_a_program("frames", slide, "--frames", "1,5-7", "-o", tmp_path / "tiles")
    assert done.status == 0
    written = {path.name: path.read_bytes() for path in (tmp_path / "tiles").iterdir()}
    assert written == {f"frame-{number:02}.jpg": JPEG_START + bytes([number] * 6) for number in (1, 5, 6, 7)}
    assert done.stdout == ""
    assert "4 frames" in done.stderr


@needs_corpus
def test_frames_are_decoded(run, tmp_path):
    path = CORPUS / "pydicom-data/emri_small_RLE.dcm"
    done = run("frames", path, "--frames", "10,2", "--decode", "-o", tmp_path)
    assert done.status == 0
    for number in (2, 10):
        expected = pixel_array(pydicom.dcmread(path), index=number - 1)
        np.testing.assert_array_equal(np.load(tmp_path / f"frame-{number:02}.npy"), expected)


def test_where_the_frames_lie_is_said(run, slide):
    assert run("frames", slide).stdout.startswith("12 frames (scan), the first at byte ")
    said = json.loads(run("frames", slide, "--json").stdout)
    assert said["source"] == "scan"
    raw = slide.read_bytes()
    places = [raw[start + 8 : start + length] for start, length in said["frames"]]
    assert places == [JPEG_START + bytes([number] * 6) for number in range(1, 13)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--frames", "13", "-o", "tiles"), "the frames are 1 to 12"),
        (("--frames", "0", "-o", "tiles"), "the frames are 1 to 12"),
        (("--frames", "5-3", "-o", "tiles"), "the frames are 1 to 12"),
        (("--frames", "all", "-o", "tiles"), "neither a number nor a range"),
        (("--frames", "1"), "go together"),
        (("-o", "tiles"), "go together"),
        (("--frames", "1", "-o", "slide.dcm"), "--output: slide.dcm"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(run, slide, tmp_path, arguments, said):
    done = run("frames", slide, *arguments, cwd=tmp_path)
    assert done.status == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["slide.dcm"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing.dcm", "no such file"),
        ("page.html", "no DICM at byte 128"),
        ("report.dcm", "the object has no pixel data, and so no frames"),
    ],
)
def test_an_object_that_has_no_frames_is_said_in_one_line(run, tmp_path, name, said):
    (tmp_path / "page.html").write_text("<html>" * 100)
    (tmp_path / "report.dcm").write_bytes(part10(element(0x00080060, "CS", b"SR")))
    done = run("frames", tmp_path / name)
    assert done.status == 3
    assert said in done.stderr
    assert name in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_wrong_number_of_frames_is_a_warning(run, tmp_path, caplog):
    path = tmp_path / "slide.dcm"
    frames = [[JPEG_START + b"ab"], [JPEG_START + b"cd"], [JPEG_START + b"ef"]]
    path.write_bytes(made(frames, number_of_frames=2))
    done = run("frames", path, "--frames", "1-3", "-o", tmp_path / "tiles")
    assert done.status == 0
    assert (tmp_path / "tiles" / "frame-3.jpg").read_bytes() == JPEG_START + b"ef"
    assert "Number of Frames is 2, the fragments make 3 frames" in caplog.text


def test_a_decoder_that_does_not_exist_is_said_in_one_line(run, tmp_path):
    path = tmp_path / "slide.dcm"
    path.write_bytes(made([[JPEG_START], [JPEG_START]], uid="1.2.840.10008.1.2.4.112"))
    done = run("frames", path, "--frames", "2", "--decode", "-o", tmp_path / "tiles")
    assert done.status == 3
    assert "frame 2: pydicom has no decoder for" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_object_without_frames_is_no_success(run, tmp_path):
    path = tmp_path / "text"
    path.write_text("no DICOM at all" * 20)
    done = run("frames", path)
    assert done.status == 3
    assert "not_dicom" in done.stderr
