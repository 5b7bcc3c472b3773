"""Every figure of a report equals that of an SQL query over the same dataset."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import duckdb
import pytest
from bs4 import BeautifulSoup, Tag
from checkout import CORPUS
from made_cohort import ct, encoded, write
from recorded_demo import recorded_demo

from harvester.audits import load_audit, run_audit
from harvester.audits.output import as_json, json_bytes
from harvester.audits.report import gather, render
from harvester.config import load
from harvester.engine.crawl import CrawlOptions, crawl
from harvester.engine.shard import CrawlProgress

# Slides, segmentations, series and broken files of several collections.
SOURCES = ("dicom-wsi-sample", "dicomParser", "generated", "highdicom", "weasis-dicom-tools")
ATTRIBUTES = ("Manufacturer", "SliceThickness", "Rows", "PixelSpacing", "PatientName")
Rows = list[tuple[Any, ...]]
SERIES = "COALESCE(SeriesInstanceUID, instance_url)"
MULTIFRAME = """encapsulated AND NumberOfFrames > 1
    AND NOT COALESCE(starts_with(TransferSyntaxUID, '1.2.840.10008.1.2.4.10'), false)"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Some of the corpus where it is there, else the demo's objects."""
    folder = tmp_path_factory.mktemp("figures")
    for name in SOURCES if CORPUS.is_dir() else ():
        shutil.copytree(CORPUS / name, folder / "files" / name)
    with recorded_demo(folder / "files" if CORPUS.is_dir() else None) as demo:
        config = load(demo.toml(folder, limits="processes = 1"))
        for options in (CrawlOptions(limit_series=20), CrawlOptions()):
            anyio.run(crawl, config, CrawlProgress(), options)
    audit = folder / "audit.toml"
    rules = ("failures", "valid_values", "consistent_series", "offset_table")
    listed = "".join(f"[[rules]]\nrule = '{rule}'\n" for rule in rules)
    listed += "[[rules]]\nrule = 'required_attributes'\nattributes = ['Manufacturer', 'SliceThickness']\n"
    audit.write_text(f"dataset = '{folder}/dataset'\n{listed}")
    result = run_audit(load_audit(audit))
    result.keep(json_bytes(as_json(result)))
    return result.dataset


@pytest.fixture(scope="module")
def html(dataset: str) -> str:
    return render(gather(dataset, ATTRIBUTES))


@pytest.fixture(scope="module")
def page(html: str) -> BeautifulSoup:
    return BeautifulSoup(html, "html.parser")


@pytest.fixture(scope="module")
def sql(dataset: str) -> Iterator[Callable[[str], Rows]]:
    """DuckDB alone over the files of the dataset."""
    with closing(duckdb.connect()) as connection:
        for table in ("instances", "failures"):
            if any(Path(dataset, table).rglob("*.parquet")):
                files = f"read_parquet('{dataset}/{table}/**/*.parquet', union_by_name=true)"
                connection.execute(f"CREATE VIEW {table} AS SELECT * FROM {files}")
        yield lambda query: connection.execute(query).fetchall()


def rows_of(table: Tag) -> Rows:
    """The rows of a table of the page; numbers as numbers."""
    return [
        tuple(_value(cell.get_text()) for cell in row.find_all(["th", "td"]))
        for row in table.find("tbody").find_all("tr")
    ]


def _value(text: str) -> Any:
    return int(text.replace(",", "")) if re.fullmatch(r"[0-9,]+", text) else text


def figure(page: BeautifulSoup, caption: str) -> Tag:
    (found,) = [one for one in page.find_all("figure") if one.figcaption.get_text().startswith(caption)]
    return found


def size(number: int) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:,.0f} {unit}" if unit == "bytes" or number >= 100 else f"{number:,.1f} {unit}"
        number /= 1000
    raise AssertionError(number)


def test_the_summary(page: BeautifulSoup, sql: Callable[[str], Rows]) -> None:
    cards = {one.dt.get_text(): one.dd.get_text() for one in page.select(".cards div")}
    ((instances, studies, series, collections, *sizes),) = sql(f"""
        SELECT count(*), count(DISTINCT COALESCE(StudyInstanceUID, instance_url)), count(DISTINCT {SERIES}),
               count(DISTINCT collection_id), sum(instance_size), sum(header_bytes), sum(bytes_fetched)
        FROM instances""")
    counts = {"instances": instances, "studies": studies, "series": series, "collections": collections}
    assert {name: _value(cards[name]) for name in counts} == counts
    assert [cards[name] for name in ("size of objects", "size of headers", "bytes fetched")] == [
        size(one) for one in sizes
    ]


def test_failures(page: BeautifulSoup, sql: Callable[[str], Rows]) -> None:
    reasons = sql("SELECT count(*), reason FROM failures GROUP BY reason")
    cards = {one.dt.get_text(): one.dd.get_text() for one in page.select(".cards div")}
    assert _value(cards["failures"]) == sum(number for number, _reason in reasons)
    told = page.select_one("#summary p").get_text().removeprefix("Not harvested: ").removesuffix(".")
    assert sorted(told.split(", ")) == sorted(f"{number} {reason}" for number, reason in reasons)


def test_modalities_and_collections(page: BeautifulSoup, sql: Callable[[str], Rows]) -> None:
    for name, column in (("modality", "Modality"), ("collection", "collection_id")):
        expected = sql(f"""
            SELECT COALESCE({column}, '(none)'), count(DISTINCT {SERIES}), count(*),
                   sum(instance_size)::BIGINT
            FROM instances GROUP BY {column}""")
        shown = rows_of(figure(page, f"Instances by {name}"))
        assert sorted(shown) == sorted((*row, size(total)) for *row, total in expected)
    groups = sql(f"""
        SELECT COALESCE(collection_id, '(none)'), COALESCE(Modality, '(none)'),
               count(DISTINCT COALESCE(StudyInstanceUID, instance_url)), count(DISTINCT {SERIES}), count(*),
               sum(instance_size)::BIGINT
        FROM instances GROUP BY collection_id, Modality""")
    (table,) = page.select('#cohort div[aria-label="Collections and their modalities"]')
    assert sorted(rows_of(table)) == sorted((*row, size(total)) for *row, total in groups)


def test_offset_tables(page: BeautifulSoup, sql: Callable[[str], Rows]) -> None:
    expected = sql(f"""
        WITH multi AS (
            SELECT COALESCE(collection_id, '(none)') AS name, COALESCE(extended_offset_table, false) AS e,
                   COALESCE(basic_offset_table, false) AS b, COALESCE(preamble = 'tiff', false) AS t
            FROM instances WHERE {MULTIFRAME})
        SELECT name, count(*) FILTER (e), count(*) FILTER (b AND NOT e),
               count(*) FILTER (t AND NOT b AND NOT e), count(*) FILTER (NOT t AND NOT b AND NOT e), count(*)
        FROM multi GROUP BY name""")
    assert sorted(rows_of(figure(page, "Offset tables by collection"))) == sorted(expected)
    without = dict(
        sql(f"""
        SELECT COALESCE(collection_id, '(none)'), count(DISTINCT {SERIES}) FROM instances
        WHERE {MULTIFRAME} AND NOT COALESCE(extended_offset_table, false)
              AND NOT COALESCE(basic_offset_table, false) AND preamble IS DISTINCT FROM 'tiff'
        GROUP BY collection_id""")
    )
    told = [one.get_text() for one in page.select("#frames .charts > div summary")]
    assert sorted(told) == sorted(f"{name}: {number:,} series" for name, number in without.items())


def test_crawls(page: BeautifulSoup, dataset: str, sql: Callable[[str], Rows]) -> None:
    expected = sql(f"""
        SELECT replace(left(started_at::VARCHAR, 19), 'T', ' '), r.instances, r.failures,
               round(r.instances / r.seconds)::BIGINT, r.requests, r.bytes_fetched, processes
        FROM (SELECT *, totals AS r FROM read_json('{dataset}/_harvest/runs/*.json')) ORDER BY 1""")
    shown = rows_of(figure(page, "Crawls"))
    assert shown == [(*row[:5], size(row[5]), row[6]) for row in expected]
    assert len(shown) == 2
    ((instances,),) = sql("SELECT count(*) FROM instances")
    assert sum(row[1] for row in shown) == instances


def test_header_sizes(page: BeautifulSoup, sql: Callable[[str], Rows]) -> None:
    units = {"B": 0, "KiB": 10, "MiB": 20, "GiB": 30}
    shown = {}
    for label, instances in rows_of(figure(page, "Header sizes")):
        number, unit = label.split()
        shown[int(number) << units[unit]] = instances
    powers = sorted(shown)
    expected = sql("SELECT header_bytes FROM instances WHERE header_bytes IS NOT NULL")
    counted = dict.fromkeys(powers, 0)
    for (length,) in expected:
        counted[max(power for power in powers if power <= max(length, 1))] += 1
    assert shown == counted


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_values(page: BeautifulSoup, sql: Callable[[str], Rows], name: str) -> None:
    column = {"PixelSpacing": "PixelSpacing[1]", "PatientName": "PatientName.Alphabetic"}.get(
        name, f'"{name}"'
    )
    values = [one for (one,) in sql(f"SELECT {column} FROM instances")]
    there = [one for one in values if one is not None]
    found = figure(page, name)
    caption = found.figcaption.get_text()
    shown = rows_of(found)

    def noted(pattern: str) -> int:
        return sum(_value(one) for one in re.findall(pattern, caption))

    assert noted(r"([0-9,]+) without") == len(values) - len(there)
    outside = noted(r"([0-9,]+) (?:with other values|not a number|below|above)")
    assert sum(row[-1] for row in shown) + outside == len(there)
    if len(shown[0]) == 2:
        for value, instances in shown:
            assert sum(" ".join(str(one).split()) == str(value) for one in there) == instances
        return
    edges = [(float(least), float(most), instances) for least, most, instances in shown]
    width = min(most - least for least, most, _instances in edges)
    for least, most, instances in edges:
        # The page shows six digits of an edge: a value that lies on it is on one of both sides.
        slack = 1e-4 * width + 1e-6 * abs(most)
        surely = sum(least + slack < one < most - slack for one in there)
        perhaps = sum(least - slack <= one <= most + slack for one in there)
        assert surely <= instances <= perhaps


def test_rules(page: BeautifulSoup, dataset: str, sql: Callable[[str], Rows]) -> None:
    findings = f"read_parquet('{dataset}/_harvest/audits/*/findings.parquet')"
    expected = dict(sql(f"SELECT rule, count(*) FROM {findings} GROUP BY rule"))
    total = sum(expected.values())
    assert total > 0
    shown = {}
    for rule in page.select("#findings details.rule"):
        more = [re.match(r"and ([0-9,]+) more", one.get_text()) for one in rule.find_all("p")]
        listed = len(rule.select("ul > li"))
        shown[rule.strong.get_text()] = listed + sum(_value(one[1]) for one in more if one)
    assert shown == expected


def test_the_page_is_the_same_every_time(dataset: str, html: str) -> None:
    first, second = (
        re.sub(r"[0-9-]{10} [0-9:]{5} UTC", "", page, count=1)
        for page in (html, render(gather(dataset, ATTRIBUTES)))
    )
    assert first == second


def test_outliers_are_counted_and_not_drawn(tmp_path: Path) -> None:
    planes = [ct(1, n, SliceThickness=n / 10) for n in range(1, 31)] + [ct(1, 31, SliceThickness=1e6)]
    write(tmp_path / "files", {f"{n}.dcm": encoded(one) for n, one in enumerate(planes)})
    config = tmp_path / "crawl.toml"
    config.write_text(f"dataset = '{tmp_path}/dataset'\n[select]\nroot = '{tmp_path}/files'\n")
    anyio.run(crawl, load(config), CrawlProgress())
    (values,) = gather(f"{tmp_path}/dataset", ["SliceThickness"]).distributions
    assert (values.rows[0]["least"], values.rows[-1]["most"]) == (0.1, 3.0)
    assert (sum(row["instances"] for row in values.rows), values.above) == (30, 1)


def test_objects_without_series_and_study_are_counted_as_themselves(tmp_path: Path) -> None:
    planes = [ct(1, n) for n in range(1, 4)]
    for plane in planes[1:]:
        del plane.SeriesInstanceUID
        del plane.StudyInstanceUID
    write(tmp_path / "files", {f"{n}.dcm": encoded(one) for n, one in enumerate(planes)})
    config = tmp_path / "audit.toml"
    config.write_text(
        f"dataset = '{tmp_path}/dataset'\n[select]\nroot = '{tmp_path}/files'\n"
        "[[rules]]\nrule = 'required_attributes'\nattributes = ['KVP']\n"
    )
    audit = load_audit(config)
    anyio.run(crawl, audit.crawl, CrawlProgress())
    result = run_audit(audit)
    totals = gather(result.dataset).totals
    assert (result.cohort.series, result.cohort.studies) == (totals["series"], totals["studies"]) == (3, 3)
    assert [finding.instances for finding in result.outcomes[0].examples] == [1, 1, 1]


def test_modules_that_instances_do_not_conform_to(tmp_path: Path) -> None:
    without = ct(1, 1)
    del without.Rows, without.PatientName
    write(tmp_path / "objects", {"faulty.dcm": encoded(without), "other.dcm": encoded(ct(1, 2))})
    config, audit = tmp_path / "crawl.toml", tmp_path / "audit.toml"
    config.write_text(
        f"dataset = '{tmp_path}/dataset'\n[limits]\nprocesses = 1\n[select]\nroot = '{tmp_path}/objects'\n"
    )
    anyio.run(crawl, load(config), CrawlProgress())
    audit.write_text(f"dataset = '{tmp_path}/dataset'\n[[rules]]\nrule = 'conformance'\n")
    result = run_audit(load_audit(audit))
    result.keep(json_bytes(as_json(result)))
    page = BeautifulSoup(render(gather(result.dataset, ATTRIBUTES)), "html.parser")
    shown = figure(page, "Instances that do not conform, by module and collection")
    names = [one.get_text() for one in shown.find_all("th", scope="col")]
    (row,) = rows_of(shown)
    counts = dict(zip(names, row, strict=True))
    assert (counts["collection"], counts["image-pixel"], counts["instances"]) == ("(none)", 1, 2)
    assert shown.svg is not None
