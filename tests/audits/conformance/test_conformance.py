"""Conformance: each planted fault is found once, at its path, and a conforming object has no findings."""

import json
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from harvester_program import run
from header_feeding import read
from made_cohort import encoded, write
from planted_faults import BASES, Fault, faults
from pydicom.config import disable_value_validation
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

import harvester
from harvester.audits.conformance import (
    FINDING_COLUMNS,
    ConformanceOptions,
    Selection,
    check_dataset,
    check_object,
    check_table,
)
from harvester.audits.conformance.check import series_findings
from harvester.audits.conformance.conditions import expressions
from harvester.audits.conformance.expressions import Translator
from harvester.audits.conformance.options import conformance_options
from harvester.audits.conformance.standard import edition, iod, iod_name
from harvester.catalog.database import in_memory
from harvester.dicom import HeaderColumns
from harvester.errors import ConfigError

FAULTS = tuple(faults())
Finding = tuple[str, str]


def table(objects: list[Dataset]) -> pa.Table:
    """Objects as rows of `instances`; the URL is the number of the object."""
    columns = HeaderColumns()
    keywords = []
    for one in objects:
        header = read(encoded(one))
        columns.append(header)
        keywords.append(header.pixel_data_keyword)
    rows = pa.table(columns.finish())
    urls = pa.array([str(number) for number in range(len(objects))])
    return rows.append_column("instance_url", urls).append_column(
        "pixel_data_keyword", pa.array(keywords, pa.string())
    )


def findings(rows: pa.Table, options: ConformanceOptions | None = None) -> dict[str, Counter[Finding]]:
    """Kind and path of each finding, by URL."""
    found: dict[str, Counter[Finding]] = {url: Counter() for url in rows["instance_url"].to_pylist()}
    for one in check_table(rows, options)[1].to_pylist():
        found[one["instance_url"]][one["kind"], one["path"]] += 1
    return found


@pytest.fixture(scope="module")
def found() -> dict[str, Counter[Finding]]:
    with disable_value_validation():
        bases = {name: make() for name, make in BASES.items()}
        objects = list(bases.values())
        for fault in FAULTS:
            faulty = deepcopy(bases[fault.of])
            fault.change(faulty)
            objects.append(faulty)
        return findings(table(objects))


def test_there_are_two_hundred_faults() -> None:
    assert len(FAULTS) >= 200


def test_conforming_objects_have_no_findings(found: dict[str, Counter[Finding]]) -> None:
    assert {name: found[str(number)] for number, name in enumerate(BASES)} == {
        name: Counter() for name in BASES
    }


@pytest.mark.parametrize(
    ("number", "fault"),
    list(enumerate(FAULTS, len(BASES))),
    ids=[f"{one.of} {one.kind} {one.path}" for one in FAULTS],
)
def test_a_fault_is_found_once_at_its_path(
    found: dict[str, Counter[Finding]], number: int, fault: Fault
) -> None:
    assert found[str(number)] == Counter({(fault.kind, fault.path): 1})


def test_type_2_is_not_checked_where_empty_elements_are_not_recorded() -> None:
    faulty = BASES["CT"]()
    del faulty.PatientName, faulty.Rows
    rows = table([faulty]).drop_columns(["empty_elements"])
    result, found = check_table(rows)
    assert [(one["kind"], one["path"]) for one in found.to_pylist()] == [("missing", "Rows")]
    assert result.unchecked["1.2.840.10008.5.1.4.1.1.2", "PatientName (Type 2)"] == "presence"


@pytest.mark.parametrize(
    ("uid", "severity"),
    [
        ("1.2.840.10008.5.1.4.1.1.6", "info"),
        ("1.2.3.4", "info"),
        ("1.2.840.10008.9.9", "error"),
        (None, "error"),
    ],
    ids=["retired", "private", "not a SOP class", "none"],
)
def test_an_unknown_class_is_a_finding(uid: str | None, severity: str) -> None:
    rows = table([BASES["CT"]()])
    classes = pa.array([uid], pa.string())
    rows = rows.set_column(rows.column_names.index("SOPClassUID"), "SOPClassUID", classes)
    (one,) = check_table(rows)[1].to_pylist()
    assert (one["kind"], one["path"], one["severity"]) == ("unknown_class", "SOPClassUID", severity)


def test_checks_can_be_selected() -> None:
    faulty = BASES["CT"]()
    del faulty.Rows, faulty.PatientName
    faulty.RepetitionTime = 5
    rows = table([faulty])

    def paths(**selection: Any) -> set[str]:
        options = ConformanceOptions(selection=Selection(**selection))
        return {path for _, path in findings(rows, options)["0"]}

    assert paths() == {"Rows", "PatientName", "RepetitionTime"}
    assert paths(types=frozenset({"1"})) == {"Rows"}
    assert paths(modules=frozenset({"patient"})) == {"PatientName"}
    assert paths(severities=frozenset({"error"})) == {"Rows", "PatientName"}
    assert paths(extended=False) == {"Rows", "PatientName"}
    assert paths(ignore=frozenset({"(0028,0010)", "PatientName@patient"})) == {"RepetitionTime"}


def test_the_attribute_uid_is_a_column_like_others() -> None:
    other = BASES["CT"]()
    other.UID = "1.2.3"
    assert findings(table([other]))["0"] == Counter({("unexpected", "UID"): 1})


def test_every_condition_can_be_translated() -> None:
    translator = Translator(lambda name: f'"{name}"', lambda name: f'"{name}" IS NOT NULL')
    root = Translator(translator.value, translator.present, {"root": translator})
    for name, condition in expressions():
        for expression in filter(None, (condition.expression, condition.forbidden)):
            assert root.sql(expression), name


def test_an_expression_that_is_no_condition_is_refused() -> None:
    translator = Translator(lambda name: name, lambda name: name)
    for text in ("Rows + 1", "open('x')", "Rows", "[1]"):
        with pytest.raises((ValueError, KeyError, TypeError)):
            translator.sql(text)


def test_the_tables_have_the_classes_that_idc_holds() -> None:
    for number in ("2", "4", "128", "77.1.6", "66.4", "66.7", "91.1", "88.33", "481.3", "1.2", "104.1"):
        name = iod_name(f"1.2.840.10008.5.1.4.1.1.{number}")
        assert name is not None, number
        assert "SOPInstanceUID" in iod(name).attributes
    assert edition() == "2026b"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("conformance")
    faulty = BASES["CT"]()
    del faulty.Rows
    write(folder / "files", {"good.dcm": encoded(BASES["MR"]()), "faulty.dcm": encoded(faulty)})
    (folder / "crawl.toml").write_text(f"dataset = '{folder}/dataset'\n[select]\nroot = '{folder}/files'\n")
    assert run("crawl", folder / "crawl.toml").status == 0
    return f"{folder}/dataset"


def test_a_dataset_is_checked_and_all_findings_are_written(dataset: str, tmp_path: Path) -> None:
    file = tmp_path / "findings.parquet"
    result = check_dataset(dataset, output=file)
    assert result.instances == {"1.2.840.10008.5.1.4.1.1.2": 1, "1.2.840.10008.5.1.4.1.1.4": 1}
    (count,) = result.counts
    assert (count.check.kind, count.check.path, count.findings, count.instances) == ("missing", "Rows", 1, 1)
    (row,) = pq.read_table(file).to_pylist()
    assert list(row) == FINDING_COLUMNS.names
    assert (row["keyword"], row["type"], row["module"]) == ("Rows", "1", "image-pixel")
    assert row["clause"].startswith("PS3.3 Table C.7-11")


def test_the_command_prints_a_summary_and_its_status_says_whether_there_are_errors(dataset: str) -> None:
    done = run("conformance", "-d", dataset, "--json")
    assert done.status == 3
    assert [one["path"] for one in json.loads(done.stdout)["findings"]] == ["Rows"]
    assert run("conformance", "-d", dataset, "--sop-class", "MRImageStorage").status == 0
    assert run("conformance", "-d", dataset, "--sop-class", "MRImage").status == 2
    assert run("conformance").status == 2
    assert "findings.parquet" in run("conformance", "-d", dataset, "-o", "findings.csv").stderr


def test_the_command_says_why_checks_are_not_made_if_there_are_some(dataset: str, tmp_path: Path) -> None:
    undecided = json.loads(run("conformance", "-d", dataset, "--json").stdout)["not_checked"]
    assert {one["reason"] for one in undecided} == {"condition"}
    told = " ".join(run("conformance", "-d", dataset).stdout.split())
    number = f"{len(undecided)} checks"
    assert told.endswith(f"; {number} not made, as headers can't decide their conditions (--json lists them)")
    unknown = BASES["CT"]()
    unknown.SOPClassUID = "1.2.3.4"
    write(tmp_path, {"unknown.dcm": encoded(unknown)})
    assert run("conformance", tmp_path / "unknown.dcm").stdout.endswith(" 1 info\n")


def test_one_object_is_checked(dataset: str) -> None:
    path = str(Path(dataset).parent / "files/faulty.dcm")
    done = run("conformance", path)
    assert done.status == 3
    assert "Rows" in done.stdout
    assert check_object(path)[1].num_rows == 1


def test_python_selects_checks(dataset: str) -> None:
    checked = harvester.conformance(dataset)
    assert not checked.passed
    assert checked.arrow().schema == FINDING_COLUMNS
    assert checked.df()["path"].tolist() == ["Rows"]
    assert checked.head(0).num_rows == 0
    assert checked.counts()["findings"].to_pylist() == [1]
    assert "1 error, 0 warning, 0 info" in checked._repr_html_()
    assert harvester.conformance(dataset, iods=["mr-image"]).passed
    file = Path(dataset).parent / "files/faulty.dcm"
    assert harvester.conformance(url=file, types=["2"]).passed
    assert harvester.conformance(url=file).arrow().schema == FINDING_COLUMNS
    with pytest.raises(ConfigError, match="severity"):
        harvester.conformance(dataset, severity="worst")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("option", "name", "message"),
    [
        ("iods", "ct-imag", "^iod: 'ct-imag' is not in PS3.3; did you mean ct-image"),
        ("types", "5", "^type: '5' is not in PS3.3; valid: 1, 1C, 2, 2C, 3$"),
        ("modules", "nowhere", "^module: 'nowhere' is not in PS3.3"),
        ("ignore", "PatientNam", "^ignore: 'PatientNam' is no keyword .* did you mean PatientName"),
        ("ignore", "PatientName@nowhere", "^ignore: 'nowhere' is not in PS3.3"),
        ("ignore", "(10,10)", "^ignore: .* is neither a keyword nor"),
    ],
)
def test_a_name_that_selects_nothing_is_refused(option: str, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        conformance_options(**{option: [name]})  # type: ignore[arg-type]


def test_one_name_can_be_a_text() -> None:
    selection = conformance_options(iods="ct-image", ignore="KVP").selection
    assert (selection.iods, selection.ignore) == ({"ct-image"}, {"KVP"})


def test_ignored_tags_are_in_any_case() -> None:
    assert conformance_options(ignore=["(0010,001a)"]).selection.ignore == {"(0010,001A)"}


def test_attributes_of_items_that_the_iod_does_not_have_are_info() -> None:
    other = BASES["CT"]()
    other.ReferencedStudySequence = [Dataset()]
    other.ReferencedStudySequence[0].ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.1"
    other.ReferencedStudySequence[0].ReferencedSOPInstanceUID = "1.2.3"
    other.ReferencedStudySequence[0].KVP = 120
    (one,) = check_table(table([other]))[1].to_pylist()
    assert (one["kind"], one["path"], one["severity"]) == (
        "unexpected",
        "ReferencedStudySequence[0].KVP",
        "info",
    )


def test_a_tag_among_the_enumerated_values_is_allowed() -> None:
    rows = table([BASES["CT"]()])
    uid = "1.2.840.10008.5.1.4.1.1.12.1"
    rows = rows.set_column(rows.column_names.index("SOPClassUID"), "SOPClassUID", pa.array([uid]))
    for value, kinds in (("00181063", set()), ("00181064", {"not_allowed"})):
        with_pointer = rows.append_column("FrameIncrementPointer", pa.array([[value]]))
        found = check_table(with_pointer)[1].to_pylist()
        assert {one["kind"] for one in found if one["path"] == "FrameIncrementPointer"} == kinds


def test_enumerated_values_of_modules_that_may_not_apply_count_together() -> None:
    uid = "1.2.840.10008.5.1.4.1.1.30"
    rows = table([BASES["CT"]()])
    rows = rows.set_column(rows.column_names.index("SOPClassUID"), "SOPClassUID", pa.array([uid]))
    found = check_table(rows)[1].to_pylist()
    assert not [one for one in found if one["keyword"] == "BitsAllocated"]


def test_a_value_outside_of_its_column_is_not_missing() -> None:
    """Skipped because it is long, invalid, or written in another VR."""
    changes: dict[str, Callable[[Dataset], None]] = {
        "long": lambda one: _set_unknown(one, "StudyID", b"1 " * 40_000),
        "long in an item": lambda one: _set_unknown(one.SegmentSequence[0], "SegmentLabel", b"a " * 40_000),
        "invalid in an item": lambda one: setattr(one.SegmentSequence[0], "SegmentNumber", [1, 2]),
        "group": lambda one: _set_unknown(
            one.SharedFunctionalGroupsSequence[0], "PixelMeasuresSequence", b"ab" * 40_000
        ),
        "what a condition reads": lambda one: _set_unknown(
            one.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0], "CodeValue", b"1 " * 40_000
        ),
    }
    objects = []
    for change in changes.values():
        one = BASES["SEG"]()
        change(one)
        objects.append(one)
    found = findings(table(objects))
    missing = {
        name: [path for kind, path in found[str(number)] if kind != "multiplicity"]
        for number, name in enumerate(changes)
    }
    assert missing == {name: [] for name in changes}


def _set_unknown(of: Dataset, keyword: str, value: bytes) -> None:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    of[tag] = RawDataElement(
        Tag(tag), "UN", len(value), value, 0, is_implicit_VR=False, is_little_endian=True
    )


def test_binary_values_of_items_are_checked() -> None:
    icon = Dataset()
    icon.SamplesPerPixel, icon.PhotometricInterpretation, icon.Rows, icon.Columns = 1, "MONOCHROME2", 1, 2
    icon.BitsAllocated, icon.BitsStored, icon.HighBit, icon.PixelRepresentation = 8, 8, 7, 0
    with_pixels, without = BASES["CT"](), BASES["CT"]()
    without.IconImageSequence = [deepcopy(icon)]
    icon.add_new("PixelData", "OB", b"\0\0")
    with_pixels.IconImageSequence = [icon]
    found = findings(table([with_pixels, without]))
    assert [found[url] for url in "01"] == [
        Counter(),
        Counter({("missing", "IconImageSequence[0].PixelData"): 1}),
    ]


def test_a_class_whose_objects_have_no_pixel_data_is_checked() -> None:
    bare = BASES["CT"]()
    del bare.PixelData
    rows = table([bare])
    keywords = rows.column_names.index("pixel_data_keyword")
    rows = rows.set_column(keywords, "pixel_data_keyword", pa.array([None], pa.string()))
    assert findings(rows)["0"] == Counter({("missing", "PixelData"): 1})


def test_an_object_with_pixel_data_that_its_condition_forbids_is_checked() -> None:
    both = BASES["CT"]()
    both.SOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.6"
    both.PixelDataProviderURL = "https://example.org/pixels"
    assert findings(table([both]))["0"]["unexpected", "PixelData"] == 1


def test_a_column_called_uid_does_not_group_the_classes() -> None:
    item = BASES["CT"]()
    item.UID = "1.2.3"
    assert findings(table([item]))["0"] == Counter({("unexpected", "UID"): 1})


def test_a_palette_of_a_gray_image_is_unexpected_where_no_other_module_has_it() -> None:
    image = BASES["CT"]()
    image.RedPaletteColorLookupTableDescriptor = [256, 0, 16]
    image.RedPaletteColorLookupTableData = b"\0" * 512
    icon = Dataset()
    icon.PhotometricInterpretation, icon.RedPaletteColorLookupTableData = "MONOCHROME2", b"\0" * 512
    image.IconImageSequence = [icon]
    other = deepcopy(image)
    other.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"  # with a Supplemental Palette Color LUT
    found = findings(table([image, other]))
    names = {f"RedPaletteColorLookupTable{name}" for name in ("Descriptor", "Data")}
    inside = {"IconImageSequence[0].RedPaletteColorLookupTableData"}
    assert {path for kind, path in found["0"] if kind == "unexpected"} == names | inside
    assert not names & {path for kind, path in found["1"] if kind == "unexpected"}


def test_bits_of_lookup_tables_are_enumerated() -> None:
    wrong = BASES["CT"]()
    lut = Dataset()
    lut.LUTDescriptor, lut.LUTData = [1, 0, 7], [1]
    wrong.VOILUTSequence = [lut]
    for colour in ("Red", "Green", "Blue"):
        setattr(wrong, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 12])
    found = {path for kind, path in findings(table([wrong]))["0"] if kind == "not_allowed"}
    assert found == {
        "VOILUTSequence[0].LUTDescriptor",
        *(f"{colour}PaletteColorLookupTableDescriptor" for colour in ("Red", "Green", "Blue")),
    }


def test_type_2_is_not_reported_where_empty_elements_are_too_many_to_list() -> None:
    many = BASES["CT"]()
    many.ReferencedImageSequence = [Dataset() for _ in range(1001)]
    for item in many.ReferencedImageSequence:
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = many.SOPClassUID, "1.2.3"
        item.ReferencedFrameNumber = ""
    many.SliceThickness = None
    assert {kind for kind, _ in findings(table([many]))["0"]} == {"empty"}


def test_objects_without_a_series_are_subjects_of_their_own() -> None:
    faulty = BASES["CT"]()
    del faulty.Rows
    rows = table([faulty, faulty])
    rows = rows.set_column(rows.column_names.index("SeriesInstanceUID"), "SeriesInstanceUID", pa.nulls(2))
    rows = rows.append_column("collection_id", pa.nulls(2, pa.string()))
    with in_memory() as connection:
        connection.register("instances", rows)
        found = pa.Table.from_batches(series_findings(connection, ConformanceOptions())).to_pylist()
    subjects = sorted(one["subject"] for one in found if "missing: Rows" in one["problem"])
    assert subjects == ["0", "1"]


def test_values_that_contain_a_nul_are_checked() -> None:
    names = ("Modality", "SOPClassUID", "SeriesInstanceUID", "StudyInstanceUID", "SOPInstanceUID")
    rows = table([BASES["CT"]() for _ in names])
    for number, name in enumerate(names):
        values = pa.array("C\0T" if at == number else old for at, old in enumerate(rows[name].to_pylist()))
        rows = rows.set_column(rows.column_names.index(name), name, values)
    found = findings(rows)
    assert found["0"]["not_defined", "Modality"] == 1
    assert found["1"]["unknown_class", "SOPClassUID"] == 1
