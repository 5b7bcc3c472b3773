"""The report: what it says of a dataset, and what becomes of markup in the values that it shows."""

import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from defusedxml.ElementTree import fromstring
from harvester_program import run
from hostile_cohort import HOSTILE, HOSTILE_NAME

from harvester.audits.report import gather, render
from harvester.audits.report.charts import bars, heat_map, histogram
from harvester.audits.report.page import viewer_url, words
from harvester.audits.vocabulary import uid_name, uids

ATTRIBUTES = ("PatientName", "SeriesDescription", "SliceThickness")


@pytest.fixture(scope="module")
def page(hostile: str) -> str:
    return render(gather(hostile, ATTRIBUTES))


def test_markup_in_values_is_text(page: str) -> None:
    assert HOSTILE not in page
    assert HOSTILE_NAME not in page
    assert "&lt;script&gt;document.write(3)" in page
    assert "&lt;img src=x onerror=" in page
    assert "<script" not in page
    elements = BeautifulSoup(page, "html.parser").find_all()
    assert [name for one in elements for name in one.attrs if name.startswith("on")] == []


def test_the_page_names_nothing_outside_but_the_viewer(page: str) -> None:
    addresses = re.findall(r"(?:href|src|url\()\s*=?\s*\"?(https?:[^\"')]+)", page)
    assert [one for one in addresses if "viewer.imaging.datacommons.cancer.gov" not in one] == []


def test_the_page_forbids_what_it_does_not_need(page: str) -> None:
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert " style=" not in page


def test_what_broke_the_rules_is_told_with_examples(page: str) -> None:
    assert "no offset table" in page
    assert "missing: RescaleSlope" in page
    assert "named_by_hand" in page


def test_every_chart_has_a_name_and_a_table(page: str) -> None:
    charts = re.findall(r"<figure>.*?</figure>", page, re.DOTALL)
    assert len(charts) >= 5
    for chart in charts:
        assert re.search(r'<svg[^>]* role="img"', chart)
        assert re.search(r'<svg[^>]* aria-label="[^"]+"', chart)
        assert "<table>" in chart


def test_collections_without_offset_tables_come_first(page: str) -> None:
    section = page.split('id="frames"')[1]
    assert "Series without an offset table" in section
    assert "(none): 1 series" in section


def test_a_report_is_written_by_the_command(hostile: str, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    done = run("report", "-d", hostile, "-o", file, "--attribute", "PatientName", "--title", "A <b>title")
    assert (done.status, done.stderr) == (0, "")
    assert "<h1>A &lt;b&gt;title</h1>" in file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ("--attribute", "PatientNam"),
            "--attribute: 'PatientNam' is not the keyword of an attribute; did you mean",
        ),
        (("--attribute", "SegmentSequence"), "--attribute: SegmentSequence (SQ) has items, not values"),
        (("-o", "/nowhere/report.html"), "--output: /nowhere/report.html: No such file or directory"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    hostile: str, tmp_path: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    done = run("report", "-d", hostile, "-o", tmp_path / "report.html", *arguments)
    assert done.status == 2
    assert complaint in done.stderr


def test_an_empty_dataset_has_a_report(tmp_path: Path) -> None:
    from harvester.dataset import Dataset  # noqa: PLC0415

    page = render(gather(Dataset.create(tmp_path / "empty").location))
    assert "<dt>instances</dt><dd>0</dd>" in page


def test_slides_open_in_slim_and_the_rest_in_ohif() -> None:
    assert viewer_url("1.2", "3.4", "SM").endswith("/slim/studies/1.2/series/3.4")
    assert viewer_url("1.2", '3"4', "CT").endswith(
        "/v3/viewer/?StudyInstanceUIDs=1.2&initialSeriesInstanceUID=3%224"
    )


def test_a_chart_has_an_element_for_each_row_and_its_colours_from_the_page() -> None:
    svg = bars([{"a": HOSTILE, "n": 3}, {"a": None, "n": 1}], title="t", unit="things", label="a", number="n")
    drawn = fromstring(svg)
    described = [one for one in drawn.iter() if one.get("aria-roledescription") == "bar"]
    assert len(described) == 2
    assert {one.get("fill") for one in described} == {"var(--bar)"}
    assert "(none)" in svg


def test_long_names_that_begin_and_end_alike_stay_apart() -> None:
    names = ["a" * 120 + middle + "z" * 120 for middle in "xy"]
    svg = bars([{"a": name, "n": 1} for name in names], title="t", unit="u", label="a", number="n")
    assert svg.count('aria-roledescription="bar"') == 2
    assert "".join(fromstring(svg).itertext()).count("(2)") == 1


def test_no_name_of_a_transfer_syntax_is_cut() -> None:
    names = list(map(uid_name, uids("Transfer Syntax").values()))
    svg = bars([{"a": name, "n": 1} for name in names], title="t", unit="u", label="a", number="n")
    text = "".join("".join(fromstring(svg).itertext()).split())
    assert [name for name in names if "".join(name.split()) not in text] == []


def test_ticks_are_whole_plain_numbers() -> None:
    svg = bars([{"a": "one", "n": 1}], title="t", unit="u", label="a", number="n")
    wide = bars([{"a": "one", "n": 40_000_000}], title="t", unit="u", label="a", number="n")
    texts = [one.text for svg in (svg, wide) for one in fromstring(svg).iter() if one.tag.endswith("text")]
    assert "40,000,000" in texts
    assert [text for text in texts if text and re.fullmatch(r"[0-9.]+[a-zA-Zµ]", text)] == []


def test_examples_are_words() -> None:
    assert (
        words('{"reason": "timeout", "status": null, "places": [1.5, 2]}')
        == "reason: timeout, places: 1.5 / 2"
    )


def test_the_other_charts_are_drawn_too() -> None:
    shares = [{"row": "r", "column": "none", "share": 0.5, "text": "50%"}]
    assert "50%" in heat_map(shares, ["none"], title="shares")
    binned = [{"least": 0.0, "most": 1.0, "instances": 3}, {"least": 1.0, "most": 2.0, "instances": 5}]
    assert histogram(binned, title="h", axis="mm").count('aria-roledescription="bar"') == 2
