"""Elements in, elements out: every element of a header, at every depth, is somewhere in its row."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from header_feeding import depth_first, read, whole_files, whole_headers
from hypothesis import given, settings
from hypothesis import strategies as st
from made_data_sets import MadeFile, made_files

from harvester.dicom import Header, HeaderColumns
from harvester.dicom.dictionary import attribute, name_of
from harvester.dicom.element import Items, RawElement

NAMED = ("OtherElements", "bulk_data", "invalid_elements")


def elements_in(elements: list[RawElement], prefix: str = "") -> Iterator[tuple[str, bool]]:
    """The path of each element, and whether there is nothing in it."""
    for tag, _vr, raw, _offset, length in elements:
        path = prefix + name_of(tag)
        if isinstance(raw, Items):
            yield path, not len(raw)
            for index, item in enumerate(raw):
                yield from elements_in(item, f"{path}[{index}].")
        else:
            # Padding, backslashes and the marks between a name's parts are nothing.
            yield path, not length or (raw is not None and not raw.strip(b" \0\\\t\r\n=^"))


def leaves(value: Any, path: str) -> Iterator[str]:
    """The path of each attribute that has a value in the columns; of a sequence also those of its items."""
    if value is None or value == []:
        return
    yield path
    if isinstance(value, list) and isinstance(value[0], dict) and "Alphabetic" not in value[0]:
        for index, item in enumerate(value):
            for name, inner in item.items():
                yield from leaves(inner, f"{path}[{index}].{name}")


def missing_and_invented(header: Header, row: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The elements that are nowhere in the row, and what is in the row without an element."""
    needed, possible = Counter(), Counter()
    for path, nothing in elements_in(header.elements):
        possible[path] += 1
        needed[path] += not nothing
    lists = (*NAMED, "empty_elements")
    columns = {path for name, value in row.items() if name not in lists for path in leaves(value, name)}
    named = Counter(entry["path"] for name in NAMED for entry in row[name])
    uncounted = named.pop("", 0)  # more empty elements than are listed
    empty = set(row["empty_elements"])
    assert len(empty) == len(row["empty_elements"])
    repeated = Counter(
        entry["path"] for entry in row["invalid_elements"] if entry["reason"].startswith("repeated")
    )
    missing = [path for path in needed if needed[path] and path not in columns and path not in named]
    missing += [path for path, count in needed.items() if count > 1 + repeated[path] and path not in missing]
    if not uncounted:
        missing += sorted(possible.keys() - columns - named.keys() - empty - set(missing))
    invented = sorted((columns | named.keys() | empty) - possible.keys())
    return missing, invented + sorted(empty & columns)


def held_against_itself(raws: dict[str, bytes]) -> int:
    columns, headers, elements = HeaderColumns(), {}, 0
    for path, raw in raws.items():
        headers[path] = read(raw)
        columns.append(headers[path])
    arrays = columns.finish()
    for place, (path, header) in enumerate(headers.items()):
        row = {name: array[place].as_py() for name, array in arrays.items()}
        missing, invented = missing_and_invented(header, row)
        assert not missing, (path, missing[:5])
        assert not invented, (path, invented[:5])
        elements += sum(1 for _ in elements_in(header.elements))
    return elements


@pytest.mark.parametrize("part", range(4))
def test_every_element_of_every_real_header_is_in_its_row(part: int) -> None:
    paths = [path for path, raw in sorted(whole_headers().items()) if len(raw) < 200_000][part::4]
    assert held_against_itself({path: whole_files()[path] for path in paths}) > 1000


def test_every_element_of_the_largest_headers_is_in_their_rows() -> None:
    paths = [path for path, raw in whole_headers().items() if 200_000 <= len(raw) < 1_500_000]
    if not paths:
        pytest.skip("the corpus of real files is not here")
    paths.sort(key=lambda path: sum(1 for _ in depth_first(read(whole_files()[path]).elements)))
    assert held_against_itself({path: whole_files()[path] for path in paths[-2:]}) > 1000


@settings(max_examples=25, deadline=None)
@given(files=st.lists(made_files(), min_size=1, max_size=3))
def test_every_element_of_a_made_header_is_in_its_row(files: list[MadeFile]) -> None:
    held_against_itself({str(place): made.raw for place, made in enumerate(files)})


def test_an_element_that_is_dropped_is_told() -> None:
    # The test of this test.
    path = next(path for path in whole_files() if path.endswith("CT_small.dcm"))
    header = read(whole_files()[path])
    columns = HeaderColumns()
    columns.append(header)
    row = {name: array[0].as_py() for name, array in columns.finish().items()}
    assert missing_and_invented(header, row) == ([], [])
    del row["OtherElements"][0]
    assert len(missing_and_invented(header, row)[0]) == 1
    row["PatientID"] = None
    assert len(missing_and_invented(header, row)[0]) == 2
    assert attribute(0x00100020) is not None
