"""Unmodified highdicom and tifffile read single frames from a bucket."""

import io

import numpy as np
import pytest
from header_feeding import CORPUS, needs_corpus
from memory_store import MemoryStore

import harvester

highdicom = pytest.importorskip("highdicom", reason="highdicom is not installed")
pytestmark = [needs_corpus, pytest.mark.filterwarnings("ignore")]

URL = "s3://bucket/slide.dcm"
SLIDES = {
    "none": "generated/sm_tiled_full_3000f_neither.dcm",
    "basic": "generated/sm_tiled_full_480f_bot.dcm",
    "extended": "generated/sm_tiled_full_480f_eot.dcm",
    "native": "highdicom/sm_image.dcm",
    "jpeg ls": "highdicom/sm_image_jpegls_nobot.dcm",
}


def stored(name):
    raw = (CORPUS / name).read_bytes()
    return raw, MemoryStore({URL: raw})


@pytest.mark.parametrize("offset_table", ["auto", "extended"])
@pytest.mark.parametrize("name", SLIDES.values(), ids=SLIDES)
def test_highdicom_reads_the_same_pixels_lazily(name, offset_table):
    raw, store = stored(name)
    whole = highdicom.imread(io.BytesIO(raw))
    for _ in range(2):
        lazy = highdicom.imread(
            harvester.open_object(URL, store=store, offset_table=offset_table), lazy_frame_retrieval=True
        )
        for number in (1, 7, whole.number_of_frames):
            np.testing.assert_array_equal(
                lazy.get_frame(number, apply_icc_profile=False),
                whole.get_frame(number, apply_icc_profile=False),
            )


def test_a_region_of_a_slide_without_a_table_costs_a_scan_once():
    _, store = stored(SLIDES["none"])

    def region():
        store.ranges.clear()
        store.bytes_fetched = 0
        file = harvester.open_object(URL, store=store)
        image = highdicom.imread(file, lazy_frame_retrieval=True)
        image.get_total_pixel_matrix(
            row_start=1, row_end=65, column_start=1, column_end=65, apply_icc_profile=False
        )
        return store.bytes_fetched

    size = (CORPUS / SLIDES["none"]).stat().st_size
    assert region() < size + 300_000
    assert region() < size / 6


def test_highdicom_reads_a_segment_lazily():
    raw, store = stored("highdicom/seg_image_ct_binary_overlap.dcm")
    whole = highdicom.seg.segread(io.BytesIO(raw))
    lazy = highdicom.seg.segread(harvester.open_object(URL, store=store), lazy_frame_retrieval=True)
    expected = whole.get_volume(segment_numbers=[1]).array
    np.testing.assert_array_equal(lazy.get_volume(segment_numbers=[1]).array, expected)


def test_tifffile_reads_a_tile_of_a_file_that_is_both():
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")
    raw, store = stored("generated/sm_dual_personality_tiff.dcm")
    file = harvester.open_object(URL, store=store, offset_table="none")
    with tifffile.TiffFile(io.BytesIO(raw)) as whole, tifffile.TiffFile(file) as lazy:
        page, other = lazy.pages[0], whole.pages[0]
        assert page.dataoffsets == other.dataoffsets
        place = page.dataoffsets[3]
        assert file.read_at(place, page.databytecounts[3]) == raw[place : place + page.databytecounts[3]]
    assert store.bytes_fetched < len(raw)
