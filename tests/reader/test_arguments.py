"""Arguments of the reader: every form of an address is accepted, and what is not valid is named."""

import array
import io
from pathlib import Path

import anyio
import numpy as np
import pyarrow as pa
import pydicom
import pytest
from frame_reading import made
from memory_store import MemoryStore

import harvester
from harvester.errors import ConfigError

URL = "s3://bucket/slide.dcm"
IMAGES = [b"\xff\xd8\xff\xe0" + bytes([number]) * 300 for number in range(5)]
RAW = made([[image] for image in IMAGES])
STORE = MemoryStore({URL: RAW})
CT = Path(pydicom.data.get_testdata_file("CT_small.dcm"))


@pytest.fixture
def file():
    return harvester.open_object(URL, store=STORE, offset_table="none")


@pytest.mark.parametrize("number", [np.int16(600), np.uint32(600), np.int64(600), np.uint8(200), True])
def test_offsets_and_sizes_are_integers_of_any_type(file, number):
    where = int(number)
    assert file.seek(number) == where
    assert file.read(number) == RAW[where : 2 * where]
    assert file.read_at(number, number) == RAW[where : 2 * where]
    file.seek(where)
    file.seek(-number if isinstance(number, np.signedinteger) else -where, io.SEEK_CUR)
    assert file.tell() == 0
    assert len(file.peek(number)) == where

    async def read():
        async with harvester.aopen_object(URL, store=STORE, offset_table="none") as one:
            return one.seek(number), await one.read(number), await one.read_at(number, number)

    assert anyio.run(read) == (where, RAW[where : 2 * where], RAW[where : 2 * where])


@pytest.mark.parametrize("number", [3.5, np.float32(3), "3", b"3"])
def test_other_types_are_a_type_error(file, number):
    for call in (
        file.seek,
        file.read,
        file.peek,
        lambda one: file.read_at(one, 1),
        lambda one: file.read_at(1, one),
    ):
        with pytest.raises(TypeError):
            call(number)
    with pytest.raises(TypeError):
        harvester.read_frames(URL, [number], store=STORE)


def test_a_negative_position_is_an_error(file):
    for call in (lambda: file.seek(-1), lambda: file.read_at(-1, 5), lambda: file.seek(-len(RAW) - 1, 2)):
        with pytest.raises(ValueError, match="is negative"):
            call()
    with pytest.raises(ValueError, match="whence"):
        file.seek(0, 3)


@pytest.mark.parametrize(
    "buffer",
    [
        bytearray(40),
        memoryview(bytearray(40)),
        array.array("H", bytes(40)),
        np.zeros((4, 5), "<i2"),
        np.zeros(10, "f4"),
    ],
)
def test_any_contiguous_buffer_is_read_into(file, buffer):
    file.seek(100)
    assert file.readinto(buffer) == 40
    assert bytes(memoryview(buffer).cast("B")) == RAW[100:140]
    assert file.tell() == 140


def test_empty_and_read_only_buffers(file):
    assert file.readinto(bytearray()) == file.readinto(np.zeros((0, 3))) == 0
    with pytest.raises(TypeError):
        file.readinto(bytes(8))


def test_peek_keeps_the_position(file):
    file.seek(128)
    assert file.peek(4) == b"DICM"
    assert file.peek()[:4] == b"DICM"
    assert file.tell() == 128
    file.seek(0, io.SEEK_END)
    assert file.peek(4) == b""


def test_a_buffered_reader_takes_the_file(file):
    assert io.BufferedReader(file).read() == RAW
    assert (file.name, file.mode) == (URL, "rb")


def addresses():
    upath = pytest.importorskip("upath", reason="universal-pathlib is not installed")
    yield str(CT)
    yield CT
    yield CT.as_uri()
    yield f"harvester://file{CT}"
    yield pa.scalar(str(CT))
    yield upath.UPath(str(CT))
    yield upath.UPath(f"harvester://file{CT}")


def test_every_form_of_an_address_is_accepted():
    expected = pydicom.dcmread(CT, stop_before_pixels=True)
    for address in addresses():
        assert harvester.read_header(address) == expected
        assert harvester.open_object(address).read() == CT.read_bytes()
        assert len(harvester.read_frames(address, [1])) == 1
    assert harvester.read_header("harvester://s3/bucket/slide.dcm", store=STORE).NumberOfFrames == 5


@pytest.mark.parametrize("address", [None, 5, b"s3://bucket/slide.dcm", ["s3://bucket/slide.dcm"]])
def test_an_invalid_address_is_named(address):
    for call in (harvester.open_object, harvester.read_header, lambda one: harvester.read_frames(one, [1])):
        with pytest.raises(ConfigError, match="an address is a text or a path"):
            call(address)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: harvester.open_object(URL, offset_table="basic", store=STORE), "offset_table='basic'.*auto"),
        (lambda: harvester.series_urls("1.2.3", "azure"), "provider='azure'.*aws, gcs"),
        (lambda: harvester.read_headers(URL, store=STORE), "list of addresses"),
        (lambda: next(harvester.iter_headers(URL, store=STORE)), "list of addresses"),
        (lambda: harvester.read_header(URL, "PatientID", store=STORE), "attributes='PatientID'"),
        (lambda: harvester.read_frames(URL, 3, store=STORE), "frame_numbers=3"),
        (lambda: harvester.read_frames(URL, "12", store=STORE), "frame_numbers='12'"),
        (lambda: harvester.open_object(URL, endpoint="nowhere"), "nowhere"),
        (lambda: harvester.DiskCache("/dev/null/cache"), "/dev/null/cache.*cannot be created"),
        (lambda: harvester.DiskCache("/tmp", 0), "must be positive"),
    ],
)
def test_an_argument_that_is_not_valid_is_named(call, named):
    with pytest.raises(ConfigError, match=named):
        call()


def test_an_unknown_option_is_a_type_error():
    with pytest.raises(TypeError, match="bucket"):
        harvester.read_header(URL, bucket="one")


def test_frame_numbers_are_taken_from_an_iterator():
    read = harvester.read_frames(URL, (number for number in (5, 1)), False, store=STORE)
    assert read == [IMAGES[4], IMAGES[0]]
    assert harvester.read_frames(URL, np.array([2, 3], "u1"), False, store=STORE) == IMAGES[1:3]


@pytest.mark.parametrize("numbers", ["12", b"12", 3])
def test_frame_numbers_of_an_iterator_are_a_list_too(numbers):
    with pytest.raises(ConfigError, match="it is a list of numbers"):
        next(harvester.iter_frames(URL, numbers, False, store=STORE))


def test_a_read_of_none_is_a_read_to_the_end_and_a_read_only_buffer_moves_nothing(file):
    with pytest.raises(TypeError):
        file.readinto(bytes(10))
    assert file.tell() == 0

    async def read():
        async with harvester.aopen_object(URL, store=STORE, offset_table="none") as one:
            return await one.read(None)

    assert anyio.run(read) == RAW
