"""Wrong offset tables are detected when a frame is read, reported once, and replaced."""

import io
import logging

import anyio
import pyarrow as pa
import pyarrow.parquet as pq
import pydicom
import pytest
from frame_reading import made, places
from made_part10 import element
from memory_store import MemoryStore
from pydicom.encaps import get_frame

import harvester
from harvester.config import CrawlConfig
from harvester.engine.crawl import crawl
from harvester.engine.shard import CrawlProgress
from harvester.errors import FrameIndexError
from harvester.model import ObjectRef
from harvester.reader.access import ReaderStore
from harvester.reader.event_loop import LOOP
from harvester.reader.frame_lookup import FRAME_INDEXES
from harvester.reader.opened_frames import open_frames

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

URL = "s3://bucket/slide.dcm"
COUNT = 400
FRAMES = [[b"\xff\xd8\xff\xe0" + number.to_bytes(2, "big") * 100] for number in range(COUNT)]
IMAGES = [frame[0] for frame in FRAMES]
LENGTH = len(IMAGES[0])
STARTS = [number * (LENGTH + 8) for number in range(COUNT)]
ODD_ONE = 203  # from 0: none of those that are looked at before


def with_one(changed, by=2):
    return [one + by if number == changed else one for number, one in enumerate(STARTS)]


def with_a_moved_border():
    """Offsets and lengths that fit each other to the last byte, and where one frame starts too late."""
    lengths = [LENGTH] * COUNT
    lengths[ODD_ONE - 1] += 2
    lengths[ODD_ONE] -= 2
    return with_one(ODD_ONE), lengths


ONE_IS_WRONG = {
    "basic": {"table": with_one(ODD_ONE)},
    "extended": {"extended": with_a_moved_border()},
}
ALL_ARE_WRONG = {
    "basic, from the pixel data's start": {"table": [start + 8 for start in STARTS]},
    "basic, from the file's start": {"table": [start + 600 for start in STARTS]},
    "basic, behind the end": {"table": [*STARTS[:-1], 0x7FFFFFF0]},
    "basic, of another number of frames": {"table": STARTS[:-7]},
    "basic, not ascending": {"table": STARTS[::-1]},
    "extended, from the pixel data's start": {
        "extended": ([start + 8 for start in STARTS], [LENGTH] * COUNT)
    },
    "extended, behind the end": {"extended": ([*STARTS[:-1], 1 << 63], [LENGTH] * COUNT)},
    "extended, of nothing": {"extended": ([0] * COUNT, [0] * COUNT)},
    "extended, of another number of frames": {"extended": (STARTS[:9], [LENGTH] * 9)},
}
WRONG = ONE_IS_WRONG | ALL_ARE_WRONG


def warnings_of(caplog):
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]


@pytest.mark.parametrize("tables", WRONG.values(), ids=WRONG)
def test_frames_by_number_are_those_that_a_scan_finds(tables, caplog):
    store = MemoryStore({URL: made(FRAMES, **tables)})
    numbers = [ODD_ONE + 1, 1, COUNT, ODD_ONE, 7]
    for _ in range(3):
        read = harvester.read_frames(URL, numbers, False, store=store)
        assert read == [IMAGES[number - 1] for number in numbers]
    (said,) = warnings_of(caplog)
    assert URL in said
    assert "frame index" in said


@pytest.mark.parametrize("kind", ["auto", "extended"])
@pytest.mark.parametrize("tables", ALL_ARE_WRONG.values(), ids=ALL_ARE_WRONG)
def test_a_file_with_a_wrong_table_is_shown_with_a_true_one(tables, kind, caplog):
    raw = made(FRAMES, **tables)
    file = harvester.open_object(URL, store=MemoryStore({URL: raw}), offset_table=kind)
    shown = file.read()
    assert len(shown) == file.size
    dataset = pydicom.dcmread(io.BytesIO(shown))
    extended = None
    if "extended" in tables:
        extended = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    for number in (0, 1, ODD_ONE, COUNT - 1):
        assert get_frame(dataset.PixelData, number, extended_offsets=extended)[:LENGTH] == IMAGES[number]
    offsets, _ = places(raw, FRAMES)
    assert shown.endswith(raw[offsets[0] :])
    assert len(warnings_of(caplog)) == 1


def test_missing_lengths_of_an_extended_table_are_put_in():
    elements = bytearray(made(FRAMES, extended=(STARTS, [LENGTH] * COUNT)))
    lengths = elements.index(b"\xe0\x7f\x02\x00OV")
    del elements[lengths : lengths + 12 + 8 * COUNT]
    shown = harvester.open_object(URL, store=MemoryStore({URL: bytes(elements)})).read()
    dataset = pydicom.dcmread(io.BytesIO(shown))
    tables = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    assert get_frame(dataset.PixelData, 99, extended_offsets=tables) == IMAGES[99]


@pytest.mark.parametrize("shift", [0, 8], ids=["at its item", "at its bytes"])
@pytest.mark.parametrize("tables", ONE_IS_WRONG.values(), ids=ONE_IS_WRONG)
def test_following_a_wrong_offset_fails_once(tables, shift, caplog):
    raw = made(FRAMES, **tables)
    store = MemoryStore({URL: raw})
    offsets, _ = places(raw, FRAMES)
    file = harvester.open_object(URL, store=store)
    pydicom.dcmread(file)  # what a program believes from here on
    assert file.read_at(offsets[7] + shift, 4) == raw[offsets[7] + shift :][:4]
    with pytest.raises(FrameIndexError, match=rf"frame {ODD_ONE + 1} is not where .* open the object again"):
        file.read_at(offsets[ODD_ONE] + 2 + shift, 4)
    assert len(warnings_of(caplog)) == 1
    again = pydicom.dcmread(harvester.open_object(URL, store=store))
    extended = None
    if "extended" in tables:
        extended = (again.ExtendedOffsetTable, again.ExtendedOffsetTableLengths)
    assert get_frame(again.PixelData, ODD_ONE, extended_offsets=extended) == IMAGES[ODD_ONE]


def test_a_true_table_is_shown_unchanged_without_a_warning(caplog):
    for tables in ({"table": STARTS}, {"extended": (STARTS, [LENGTH] * COUNT)}):
        raw = made(FRAMES, **tables)
        store = MemoryStore({URL: raw})
        file = harvester.open_object(URL, store=store, offset_table="extended")
        assert file.read() == raw
    assert warnings_of(caplog) == []


def test_an_extended_table_that_fills_the_object_takes_no_request():
    store = MemoryStore({URL: made(FRAMES, extended=(STARTS, [LENGTH] * COUNT))})
    dataset = pydicom.dcmread(harvester.open_object(URL, store=store), stop_before_pixels=True)
    assert len(dataset.ExtendedOffsetTable) == 8 * COUNT
    assert store.requests == 1


@pytest.fixture
def slide(tmp_path):
    path = tmp_path / "objects" / "slide.dcm"
    path.parent.mkdir()
    path.write_bytes(made(FRAMES))
    document = {
        "dataset": str(tmp_path / "dataset"),
        "source": {"catalog": "local"},
        "select": {"root": str(path.parent)},
        "frames": {"index": "scan"},
    }
    anyio.run(crawl, CrawlConfig.model_validate(document), CrawlProgress())
    return path, tmp_path / "dataset"


def lie(dataset, column, change):
    """Change the index that a dataset has."""
    (part,) = (dataset / "frames").rglob("*.parquet")
    table = pq.read_table(part, partitioning=None)
    (values,) = table[column].to_pylist()
    place, field = table.column_names.index(column), table.schema.field(column)
    pq.write_table(table.set_column(place, field, pa.array([change(values)], field.type)), part)


def moved(by):
    return lambda values: [value + by for value in values]


def one_moved(values):
    return [value + 2 * (number == ODD_ONE) for number, value in enumerate(values)]


LIES = {
    "all of them moved": moved(2),
    "all of them behind the end": moved(1 << 40),
    "one of them moved": one_moved,
    "one of them missing": lambda values: values[1:],
}


@pytest.mark.parametrize("lied", LIES.values(), ids=LIES)
def test_a_wrong_index_of_a_dataset_is_found_out(slide, lied, caplog):
    path, dataset = slide
    lie(dataset, "frame_offsets", lied)
    for _ in range(2):
        read = harvester.read_frames(str(path), [ODD_ONE + 1, 2], False, dataset=dataset)
        assert read == [IMAGES[ODD_ONE], IMAGES[1]]
    assert "frame index" in caplog.text
    FRAME_INDEXES.clear()
    if lied is not one_moved:  # which is found out where it is followed, as one in a file is
        shown = pydicom.dcmread(io.BytesIO(harvester.open_object(str(path), dataset).read()))
        assert get_frame(shown.PixelData, ODD_ONE) == IMAGES[ODD_ONE]


FRAGMENTS = [[image[:60], image[60:90], image[90:]] for image in IMAGES]
FRAGMENT_STARTS = [number * (LENGTH + 24) for number in range(COUNT)]
WRONG_LENGTHS = {
    "with the header of the item": {"extended": (STARTS, [LENGTH + 8] * COUNT)},
    "of nothing": {"extended": (STARTS, [0] * COUNT)},
    "one too long": {"extended": (STARTS, [*[LENGTH] * (COUNT - 1), LENGTH + 90])},
}


def frames_of(shown):
    """The frames of a file by pydicom, from the table that it has."""
    dataset = pydicom.dcmread(io.BytesIO(shown))
    extended = None
    if "ExtendedOffsetTable" in dataset:
        extended = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    return [get_frame(dataset.PixelData, number, extended_offsets=extended) for number in range(COUNT)]


@pytest.mark.parametrize("tables", WRONG_LENGTHS.values(), ids=WRONG_LENGTHS)
def test_wrong_lengths_of_an_extended_table_are_replaced(tables):
    raw = made(FRAMES, **tables)
    shown = harvester.open_object(URL, store=MemoryStore({URL: raw})).read()
    assert len(shown) == len(raw)
    assert frames_of(shown) == IMAGES


@pytest.mark.parametrize("lengths", [LENGTH, LENGTH + 16], ids=["of the image", "with the inner items"])
@pytest.mark.parametrize("basic", [[], FRAGMENT_STARTS], ids=["alone", "beside a basic one"])
def test_an_extended_table_of_fragmented_frames_gives_way_to_a_basic_one(lengths, basic):
    raw = made(FRAGMENTS, extended=(FRAGMENT_STARTS, [lengths] * COUNT), table=basic)
    store = MemoryStore({URL: raw})
    file = harvester.open_object(URL, store=store)
    shown = file.read()
    assert file.size == len(shown)
    if lengths == LENGTH:
        assert "ExtendedOffsetTable" not in pydicom.dcmread(io.BytesIO(shown))
        assert frames_of(shown) == IMAGES
    assert harvester.open_object(URL, store=store).size == file.size
    assert harvester.read_frames(URL, [7, COUNT], False, store=store) == [IMAGES[6], IMAGES[-1]]


def test_lengths_without_the_padding_of_an_odd_image_are_true():
    images = [[b"\xff\xd8\xff\xe0" + bytes(97) + b"\0"] for _ in range(COUNT)]
    starts = [number * 110 for number in range(COUNT)]
    raw = made(images, extended=(starts, [101] * COUNT))
    assert harvester.open_object(URL, store=MemoryStore({URL: raw})).read() == raw


@pytest.mark.parametrize("place", [1, 2])
def test_a_basic_table_that_points_into_a_frame_is_found_by_the_codecs_marker(place, caplog):
    inside = [
        start + (0, 68, 106)[place] * (number == ODD_ONE) for number, start in enumerate(FRAGMENT_STARTS)
    ]
    raw = made(FRAGMENTS, table=inside)
    store = MemoryStore({URL: raw})
    offsets, _ = places(raw, FRAGMENTS)
    assert harvester.read_frames(URL, [ODD_ONE + 1], False, store=store) == [IMAGES[ODD_ONE]]
    assert f"frame {ODD_ONE + 1} does not start there" in caplog.text
    FRAME_INDEXES.clear()
    file = harvester.open_object(URL, store=store)
    assert file.read_at(offsets[0] - 4 * COUNT, 8) == bytes(4) + FRAGMENT_STARTS[1].to_bytes(4, "little")
    with pytest.raises(FrameIndexError, match="open the object again"):
        file.read_at(offsets[0] + inside[ODD_ONE], 16)
    again = pydicom.dcmread(harvester.open_object(URL, store=store))
    assert get_frame(again.PixelData, ODD_ONE) == IMAGES[ODD_ONE]


def test_frames_that_begin_with_no_marker_are_where_a_true_table_says():
    plain = [[bytes([number % 256]) * 100] for number in range(COUNT)]
    raw = made(plain, table=[number * 108 for number in range(COUNT)])
    store = MemoryStore({URL: raw})
    assert harvester.read_frames(URL, [9], False, store=store) == [plain[8][0]]
    FRAME_INDEXES.clear()
    assert harvester.open_object(URL, store=store).read() == raw


def test_the_first_frame_of_an_object_with_a_basic_table_takes_two_requests():
    for number in (1, ODD_ONE, COUNT):
        FRAME_INDEXES.clear()
        store = MemoryStore({URL: made(FRAMES, table=STARTS)})
        assert harvester.read_frames(URL, [number], False, store=store) == [IMAGES[number - 1]]
        assert store.requests <= 2


def test_a_long_basic_table_is_read_together_with_the_first_frames():
    many = FRAMES * 60
    raw = made(many, table=[number * (LENGTH + 8) for number in range(len(many))])
    store = MemoryStore({URL: raw})
    assert harvester.read_frames(URL, [1, 2], False, store=store) == IMAGES[:2]
    assert store.requests <= 2


def test_elements_after_the_pixel_data_are_not_part_of_the_last_frame():
    behind = element(0xFFFCFFFC, "OB", bytes(5000))
    raw = made(FRAMES, table=STARTS, behind=behind)
    store = MemoryStore({URL: raw})
    assert harvester.read_frames(URL, [COUNT, 1], False, store=store) == [IMAGES[-1], IMAGES[0]]
    assert harvester.open_object(URL, store=store).read() == raw
    FRAME_INDEXES.clear()
    opened = LOOP.call(open_frames, ReaderStore(store), ObjectRef.parse(URL))
    assert opened.index.lengths[-1] > LENGTH + 8
    LOOP.call(opened.verify)
    assert opened.index.lengths[-1] == LENGTH + 8
