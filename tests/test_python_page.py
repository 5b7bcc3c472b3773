"""The page "From Python": its code runs, in a thread with a running event loop as in a notebook, too."""

import asyncio
import gc
import inspect
import pickle
import re
import traceback
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from checkout import ROOT
from recorded_demo import recorded_demo

import harvester
from harvester.errors import ConfigError, HarvestError, QueryError, SelectionError

pytestmark = pytest.mark.timeout(600)  # a crawl, an audit and a report on a busy machine

PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def demo():
    with recorded_demo() as demo:
        yield demo


@pytest.fixture(scope="module")
def names(demo, tmp_path_factory):
    """The variables that the page's code leaves behind."""
    folder = tmp_path_factory.mktemp("python")
    names = {"configs_quickstart": demo.toml(folder, limits="processes = 1"), "folder": folder}
    code = "".join(re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
    exec(compile(code, "docs/python.md", "exec"), names)
    return names


def test_headers_are_a_data_frame(names):
    assert set(names["table"]["Modality"]) == {"CT"}
    assert (
        len(names["table"])
        == names["cohort"].instances
        == names["thickness"].sum() + names["table"]["SliceThickness"].isna().sum()
    )
    assert not names["cohort"].failures


def test_a_temporary_dataset_ends_with_its_result(demo, tmp_path):
    cohort = harvester.headers(demo.toml(tmp_path), Modality="SR", progress=False)
    folder = Path(cohort.dataset)
    assert folder.is_dir()
    del cohort
    gc.collect()
    assert not folder.exists()


def test_a_plan_and_a_crawl_agree(names):
    assert names["expected"].instances == names["result"].instances + names["result"].failures
    assert names["by_modality"]["instances"].sum() == names["expected"].instances
    assert names["counts"]["instances"].sum() == names["result"].instances
    assert len(names["codes"]) > 0
    assert (names["folder"] / "failures.csv").read_text().count("\n") == names["result"].failures + 1


def test_results_show_themselves(names):
    assert "instances of" in str(names["result"])
    assert f"<p>{names['result'].instances} instances" in names["result"]._repr_html_()
    assert names["series"]._repr_html_().count("<tr>") == 11
    assert "Modality" in repr(names["series"])
    assert "violated" in str(names["audit"]) or names["audit"].passed
    assert "<iframe" in harvester.report(names["folder"] / "data")._repr_html_()


def test_audits_and_index_tables(names):
    assert len(names["findings"]) == sum(names["audit"].rules()["violations"].to_pylist())
    assert pq.read_metadata(names["folder"] / "ct_index.parquet").num_rows > 0
    assert "<html" in (names["folder"] / "report.html").read_text()


def test_blocking_functions_work_where_an_event_loop_runs(demo, tmp_path):
    async def cell():
        return harvester.headers(demo.toml(tmp_path), Modality="SR", progress=False)

    assert asyncio.run(cell()).instances == 3


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        ({"Modality": "CT", "Modalitty": "CT"}, SelectionError, "did you mean Modality"),
        ({"processes": "two"}, ConfigError, "limits.processes"),
        ({"provider": "azure"}, ConfigError, "source.provider"),
    ],
)
def test_an_error_is_short_and_names_the_key(demo, tmp_path, keys, error, message):
    with pytest.raises(error, match=message) as raised:
        harvester.headers(demo.toml(tmp_path), progress=False, **keys)
    assert len("".join(traceback.format_exception(raised.value))) < 2500


def test_a_query_that_cannot_run_has_a_short_error(names):
    with pytest.raises(QueryError, match="NoSuchColumn") as raised:
        names["dataset"].sql("SELECT NoSuchColumn FROM instances").df()
    assert "execute" not in "".join(traceback.format_exception(raised.value))


def test_an_object_that_fails_is_a_row_or_an_error(tmp_path):
    (tmp_path / "text").write_text("no DICOM at all" * 20)
    cohort = harvester.headers(urls=[str(tmp_path / "text")], progress=False)
    assert (cohort.instances, cohort.failed()["reason"].to_pylist()) == (0, ["not_dicom"])
    with pytest.raises(HarvestError, match="not_dicom"):
        harvester.headers(urls=[str(tmp_path / "text")], progress=False, errors="raise")


def test_each_function_with_input_and_output_has_an_asynchronous_twin():
    for name in ("audit", "crawl", "headers", "index", "open_dataset", "plan", "report"):
        function, twin = getattr(harvester, name), getattr(harvester, f"a{name}")
        assert inspect.iscoroutinefunction(twin)
        assert str(inspect.signature(twin)) == str(inspect.signature(function))


def test_public_functions_can_be_pickled():
    assert pickle.loads(pickle.dumps(harvester.read_header)) is harvester.read_header
