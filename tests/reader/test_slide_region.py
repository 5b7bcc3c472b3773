"""Unmodified highdicom reads a region of a slide without an offset table in few bytes."""

import io

import numpy as np
import pytest
from memory_store import MemoryStore

import harvester

highdicom = pytest.importorskip("highdicom", reason="highdicom is not installed")
objects = pytest.importorskip("reading.objects", reason="highdicom is not installed")

URL = "s3://bucket/slide.dcm"


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    path = tmp_path_factory.mktemp("slide") / "slide.dcm"
    objects.made_slide(20, 20).write(path)
    return path.read_bytes()


def region(file, row=2700, column=1900):
    image = highdicom.imread(file, lazy_frame_retrieval=True)
    return image.get_total_pixel_matrix(
        row_start=row, row_end=row + 512, column_start=column, column_end=column + 512
    )


def test_a_region_costs_a_scan_once_and_then_a_request_a_row_at_most(slide):
    expected = region(io.BytesIO(slide))
    store = MemoryStore({URL: slide})
    np.testing.assert_array_equal(region(harvester.open_object(URL, store=store)), expected)
    assert store.bytes_fetched < 1.1 * len(slide)
    for _ in range(2):
        store.ranges.clear()
        store.bytes_fetched = 0
        with harvester.open_object(URL, store=store) as file:
            np.testing.assert_array_equal(region(file), expected)
        assert store.requests == 4  # the header, a row of three tiles, and two more at once
        assert store.bytes_fetched < 600_000


def test_other_regions_of_an_open_slide_do_not_read_the_header_again(slide):
    store = MemoryStore({URL: slide})
    file = harvester.open_object(URL, store=store)
    region(file)
    store.ranges.clear()
    np.testing.assert_array_equal(region(file, 300, 3000), region(io.BytesIO(slide), 300, 3000))
    assert store.requests <= 4
    assert min(wanted.start for _, wanted in store.ranges) > 2000
