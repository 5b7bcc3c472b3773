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
from upath import UPath

import harvester
from harvester.errors import ConfigError, HarvestError, QueryError, SelectionError
from harvester.query.api import TableResult

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
    names = {
        "configs_quickstart": demo.toml(folder, limits="processes = 1"),
        "folder": folder,
        "endpoint": demo.address.endpoint,
    }
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
    rows = cohort.open().instances
    del cohort
    gc.collect()
    assert len(rows.df()) == 3  # what is open still reads it
    del rows
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
    checked = names["checked"]
    assert checked.passed is (len(checked.df()) == 0)
    assert "PS3.3" in str(checked)
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
        ({"errors": "ignore"}, ConfigError, "errors='ignore': it is one of raise, return, skip"),
    ],
)
def test_an_error_is_short_and_names_the_key(demo, tmp_path, keys, error, message):
    with pytest.raises(error, match=message) as raised:
        harvester.headers(demo.toml(tmp_path), progress=False, **keys)
    assert len("".join(traceback.format_exception(raised.value))) < 2500


def test_an_argument_of_another_kind_is_an_error_that_names_it(names):
    for number in (0, -1, "3"):
        with pytest.raises(ConfigError, match=r"limit_series=.* at least 1"):
            harvester.crawl(collection_id="nlst", dataset=names["folder"] / "none", limit_series=number)
    for number in (-1, "3"):
        with pytest.raises(ConfigError, match=r"processes=.* at least 1"):
            harvester.plan(collection_id="nlst", processes=number, measure=False)
    with pytest.raises(ConfigError, match="dialect='postgres': it is one of duckdb, bigquery"):
        names["dataset"].sql("SELECT 1", dialect="postgres").df()
    assert not (names["folder"] / "none").exists()


def test_a_query_that_cannot_run_has_a_short_error(names):
    with pytest.raises(QueryError, match="NoSuchColumn") as raised:
        names["dataset"].sql("SELECT NoSuchColumn FROM instances").df()
    assert "execute" not in "".join(traceback.format_exception(raised.value))


def test_an_object_that_fails_is_a_row_or_an_error(tmp_path):
    (tmp_path / "text").write_text("no DICOM at all" * 20)
    cohort = harvester.headers(urls=[str(tmp_path / "text")], progress=False)
    assert (cohort.instances, cohort.failed()["reason"].to_pylist()) == (0, ["not_dicom"])
    listed = harvester.headers(urls=[tmp_path / "text"], progress=False, errors="return").df()
    assert listed["reason"].tolist() == ["not_dicom"]
    with pytest.raises(HarvestError, match="not_dicom"):
        harvester.headers(urls=[str(tmp_path / "text")], progress=False, errors="raise")


def test_an_object_of_many_that_cannot_be_read_is_what_the_caller_asks_for(names):
    assert [type(one).__name__ for one in names["found"]] == ["FileDataset", "FileDataset", "NotFoundError"]
    options = {"endpoint": names["endpoint"]}
    assert len(harvester.read_headers(names["urls"], errors="skip", **options)) == 2
    with pytest.raises(FileNotFoundError):
        harvester.read_headers(names["urls"], **options)
    for policy, count in (("return", 3), ("skip", 2)):
        assert len(list(harvester.iter_headers(names["urls"], errors=policy, **options))) == count
    returned = asyncio.run(harvester.aread_headers(names["urls"], errors="return", **options))
    assert isinstance(returned[2], FileNotFoundError)
    with pytest.raises(ConfigError, match="raise, return, skip"):
        harvester.read_headers(names["urls"], errors="ignore", **options)


def test_results_are_polars_frames(names):
    frame = names["cohort"].pl()
    assert frame["SOPInstanceUID"].n_unique() == names["cohort"].instances
    assert names["dataset"].sql("SELECT 1 AS one").pl()["one"].to_list() == [1]
    assert names["audit"].pl().height == len(names["findings"])


def test_paths_of_universal_pathlib_are_paths(names, tmp_path):
    folder = UPath(names["folder"])
    with harvester.open_dataset(folder / "data") as dataset:
        assert dataset.sql("SELECT count(*) AS n FROM instances").arrow()["n"].to_pylist() != [0]
    (tmp_path / "text").write_text("no DICOM at all" * 20)
    result = harvester.crawl(root=UPath(tmp_path), dataset=UPath(tmp_path / "ds"), progress=False)
    assert (result.instances, result.failures) == (0, 1)
    harvester.report(UPath(tmp_path / "ds"), UPath(tmp_path / "report.html"))
    assert (tmp_path / "report.html").stat().st_size > 0
    assert harvester.read_headers([UPath(tmp_path / "text")], errors="skip") == []


def test_a_result_is_shown_only_on_demand(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(TableResult, "__repr__", lambda self: shown.append(self) or "")
    (tmp_path / "text").write_text("no DICOM at all" * 20)
    result = harvester.crawl(root=tmp_path, dataset=tmp_path / "ds", progress=False)
    assert not shown
    assert repr(result) == ""
    assert shown == [result]


def test_each_function_with_input_and_output_has_an_asynchronous_twin():
    functions = {name for name in harvester.__all__ if inspect.isfunction(getattr(harvester, name))}
    twins = {name for name in functions if name[0] == "a" and name[1:] in functions}
    assert len(twins) * 2 == len(functions)
    for name in twins:
        function, twin = getattr(harvester, name[1:]), getattr(harvester, name)
        assert inspect.iscoroutinefunction(twin) or name in ("aiter_frames", "aiter_headers", "aopen_object")
        assert list(inspect.signature(twin).parameters) == list(inspect.signature(function).parameters)


def test_public_functions_can_be_pickled():
    assert pickle.loads(pickle.dumps(harvester.read_header)) is harvester.read_header


def test_headers_of_all_of_idc_are_refused() -> None:
    with pytest.raises(ConfigError, match="nothing is selected, which would read all of IDC"):
        harvester.headers(progress=False, concurrency=1)
