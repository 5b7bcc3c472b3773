"""The example notebook runs against a demo bucket, and an error in a cell is short."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from checkout import ROOT
from made_cohort import ct, encoded, write
from nbclient import NotebookClient
from reading.objects import made_slide
from recorded_demo import RecordedDemo, recorded_demo

NOTEBOOK = ROOT / "docs" / "notebooks" / "cohort.ipynb"
HIDE_WIDGETS = "import sys\nsys.modules['ipywidgets'] = None\n"
LONGEST_ERROR = 600  # characters, where the traceback of all frames has thousands

pytestmark = [
    pytest.mark.timeout(600),  # a kernel, two crawls and an audit on a busy machine
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecordedDemo]:
    """Two series of ten planes, one of which lacks two, and a slide."""
    folder = tmp_path_factory.mktemp("bucket")
    planes = [ct(1, n) for n in range(10)]
    planes += [ct(2, n, SliceThickness=5.0) for n in range(10) if n not in (4, 5)]
    write(folder, {f"scans/{n}.dcm": encoded(one) for n, one in enumerate(planes)})
    made_slide(6, 6).write(folder / "slides" / "slide.dcm")
    with recorded_demo(folder) as demo:
        yield demo


def executed(demo: RecordedDemo, cells: list[Any], folder: Path) -> Any:
    """Run cells in a kernel, after those that name the bucket."""
    source = {"catalog": demo.address.catalog_url, "endpoint": demo.address.endpoint}
    given = f"source = {source!r} | dict(processes=1)\n"
    given += "scans = dict(Modality='CT')\nslides = dict(Modality='SM')\n"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(given), *cells])
    client = NotebookClient(notebook, timeout=500, kernel_name="python3", allow_errors=True)
    return client.execute(cwd=str(folder)).cells[1:]


def texts(cell: Any) -> str:
    """What a cell shows as text."""
    shown = [one.get("text", "") or one.get("data", {}).get("text/plain", "") for one in cell.outputs]
    return "\n".join(shown)


@pytest.mark.parametrize("widgets", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_notebook_runs(demo: RecordedDemo, tmp_path: Path, widgets: bool) -> None:  # noqa: FBT001
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells = [one for one in notebook.cells if "parameters" not in one.metadata.get("tags", [])]
    first = nbformat.v4.new_code_cell("" if widgets else HIDE_WIDGETS)
    done = executed(demo, [first, *cells], tmp_path)
    errors = [one["evalue"] for cell in done for one in cell.get("outputs", []) if one.output_type == "error"]
    assert errors == []
    shown = [texts(cell) for cell in done if cell.cell_type == "code"]
    assert any("18 instances" in text for text in shown)
    (gaps,) = [text for text in shown if "largest_step" in text]
    assert re.search(r"\b8\b.*\b2\.5\b.*\b7\.5\b.*\b2\.0\b", gaps)
    assert any("regular_volume: 1 violation" in text for text in shown)
    assert any("(512, 512, 3)" in text for text in shown)
    pictures = [one for cell in done for one in cell.get("outputs", []) if "image/png" in one.get("data", {})]
    assert len(pictures) == 2


def test_an_error_in_a_cell_is_short(demo: RecordedDemo, tmp_path: Path) -> None:
    failing = [
        "import harvester\nharvester.headers(Modality='CTT', **source)",
        "harvester.read_headers(['s3://idc-open-data/nowhere'], endpoint=source['endpoint'])",
        "harvester.open_dataset('nowhere')",
        "harvester.headers(**scans, **source).open().sql('SELECT NoSuchColumn FROM instances').df()",
        "await harvester.aread_header('s3://idc-open-data/nowhere', endpoint=source['endpoint'])",
    ]
    culprits = ["CTT", "nowhere", "nowhere", "NoSuchColumn", "nowhere"]
    done = executed(demo, [nbformat.v4.new_code_cell(one) for one in failing], tmp_path)
    for cell, culprit in zip(done, culprits, strict=True):
        errors = [one for one in cell.outputs if one.output_type == "error"]
        assert len(errors) == 1, cell
        (error,) = errors
        plain = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))
        assert error.ename != "TypeError"
        assert culprit in error.evalue
        assert len(plain) < LONGEST_ERROR, plain
        assert "anyio" not in plain
