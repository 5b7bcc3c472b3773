"""An opened object is a binary file: few requests, any thread, one ETag."""

import io
import random
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import anyio.lowlevel
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_part10 import element, part10
from memory_store import MemoryStore
from recorded_demo import recorded_demo

import harvester
from harvester.errors import ConfigError, NotFoundError, ObjectChangedError
from harvester.reader.event_loop import LoopThread

URL = "s3://bucket/one.dcm"
CT = Path(pydicom.data.get_testdata_file("CT_small.dcm"))


NOISE = random.Random(1).randbytes(40_000_000)
LARGE = part10(element(0x00080018, "UI", b"1.2\0"), element(0x7FE00010, "OW", NOISE))


def opened(raw, **how):
    store = MemoryStore({URL: raw})
    return harvester.open_object(URL, store=store, **how), store


def forget(store):
    store.ranges.clear()
    store.bytes_fetched = 0


STEPS = st.one_of(
    st.tuples(st.just("read"), st.integers(-1, 3000)),
    st.tuples(st.just("seek"), st.integers(0, 50_000)),
    st.tuples(st.just("back"), st.integers(0, 2000)),
    st.tuples(st.just("end"), st.integers(0, 2000)),
    st.tuples(st.just("line"), st.just(0)),
    st.tuples(st.just("into"), st.integers(0, 300)),
)


@settings(deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_it_reads_as_a_file_in_memory_does(steps):
    raw = LARGE[:40_000]
    file, plain = opened(raw)[0], io.BytesIO(raw)
    for step, number in steps:
        for one in (file, plain):
            if step == "seek":
                one.seek(number)
            elif step == "back":
                one.seek(-min(number, one.tell()), io.SEEK_CUR)
            elif step == "end":
                one.seek(-number, io.SEEK_END)
        if step == "read":
            assert file.read(number) == plain.read(number)
        elif step == "line":
            assert file.readline() == plain.readline()
        elif step == "into":
            buffers = bytearray(number), bytearray(number)
            assert file.readinto(buffers[0]) == plain.readinto(buffers[1])
            assert buffers[0] == buffers[1]
        assert file.tell() == plain.tell()


def test_pydicom_reads_the_metadata_in_one_request():
    file, store = opened(CT.read_bytes())
    read = pydicom.dcmread(file, stop_before_pixels=True)
    assert read == pydicom.dcmread(CT, stop_before_pixels=True)
    assert store.requests == 1


def test_small_steps_back_take_no_request():
    file, store = opened(LARGE)
    file.seek(20_000_000)
    file.read(100)
    forget(store)
    for _ in range(50):
        file.seek(-90, io.SEEK_CUR)
        assert file.read(90) == LARGE[20_000_010:20_000_100]
    file.seek(0)
    file.read(300)  # the header is kept
    assert store.requests == 0


def test_reads_at_two_places_stay_cached():
    file, store = opened(LARGE)
    for place in (10_000_000, 30_000_000):
        file.read_at(place, 8)
    forget(store)
    for step in range(100):
        for place in (10_000_000, 30_000_000):
            assert file.read_at(place + step, 8) == LARGE[place + step : place + step + 8]
    assert store.requests == 0


def test_sequential_reads_double_the_read_ahead():
    file, store = opened(LARGE)
    while file.read(10_000):
        pass
    assert store.bytes_fetched == len(LARGE)
    assert store.requests < 60
    assert max(len(wanted) for _, wanted in store.ranges) < 2 << 20


def test_a_long_read_is_requested_in_parallel_parts():
    at_once = []

    class Slow(MemoryStore):
        inside = 0

        async def get_range(self, ref, wanted, *, etag=None):
            self.inside += 1
            at_once.append(self.inside)
            await anyio.lowlevel.checkpoint()
            answer = await super().get_range(ref, wanted, etag=etag)
            self.inside -= 1
            return answer

    store = Slow({URL: LARGE})
    file = harvester.open_object(URL, store=store)
    forget(store)
    assert file.read() == LARGE
    assert store.requests == 38
    assert max(at_once) == 32


def test_the_cache_is_bounded():
    file, store = opened(LARGE)
    for place in range(0, 40_000_000, 100_000):
        file.read_at(place, 60_000)
    forget(store)
    file.read_at(20_000_000, 1000)
    assert store.requests in (0, 1)
    places = range(0, 40_000_000, 10_000)
    assert sum(file.view.cached(at, at + 10_000) is not None for at in places) * 10_000 < 33 << 20


def test_any_thread_reads_true_bytes():
    file, _ = opened(LARGE)
    places = [place * 97_003 % 39_000_000 for place in range(200)]
    with ThreadPoolExecutor(8) as threads:
        read = list(threads.map(lambda place: file.read_at(place, 1000), places))
    assert read == [LARGE[place : place + 1000] for place in places]


def test_threads_that_share_the_position_get_each_byte_once():
    file, _ = opened(LARGE[:3_000_000])
    parts, lock = [], threading.Lock()

    def read_some():
        while part := file.read(10_000):
            with lock:
                parts.append(part)

    with ThreadPoolExecutor(6) as threads:
        for done in [threads.submit(read_some) for _ in range(6)]:
            done.result()
    assert sorted(parts) == sorted(LARGE[at : at + 10_000] for at in range(0, 3_000_000, 10_000))


def test_reading_a_replaced_object_fails():
    file, store = opened(LARGE)
    store.put(URL, LARGE[:-1] + b"?")
    file.seek(30_000_000)
    with pytest.raises(ObjectChangedError):
        file.read(10)
    assert file.tell() == 30_000_000


def test_an_object_that_is_not_dicom_is_a_file_too():
    file, _ = opened(b"no DICOM at all, but bytes" * 100)
    assert file.header is None
    assert file.read(8) == b"no DICOM"
    empty, _ = opened(b"")
    assert empty.read() == b""


def test_opening_a_missing_object_fails():
    with pytest.raises(NotFoundError):
        harvester.open_object(URL, store=MemoryStore())
    with pytest.raises(ConfigError, match="scheme"):
        harvester.open_object("ftp://host/one.dcm")


def test_a_closed_file_raises():
    file, _ = opened(LARGE[:1000])
    with file:
        assert file.readable()
        assert file.seekable()
        assert not file.writable()
        assert file.name == URL
    for call in (file.read, file.tell, lambda: file.seek(0)):
        with pytest.raises(ValueError, match="closed"):
            call()


def test_a_path_and_a_bucket_are_opened_alike():
    with recorded_demo() as demo:
        urls = harvester.series_urls(
            "1.3.6.1.4.1.5962.1.3.1.1.20040119072730.12322",
            catalog=demo.address.catalog_url,
            endpoint=demo.address.endpoint,
        )
        demo.forget()
        file = harvester.open_object(urls[0], endpoint=demo.address.endpoint)
        read = pydicom.dcmread(file)
        assert len(demo.objects) == 1
    assert read == pydicom.dcmread(harvester.open_object(str(CT)))


def test_the_asynchronous_file_reads_the_same():
    async def read():
        store = MemoryStore({URL: LARGE})
        async with harvester.aopen_object(URL, store=store) as file:
            file.seek(5_000_000)
            parts = [await file.read(100), await file.read(100), await file.read_at(7, 10)]
            file.seek(file.size - 5)
            parts += [await file.read(), await file.read(10)]
            return parts, file.tell(), file.etag, file.header.preamble, store.requests, file.cost.requests

    parts, position, etag, preamble, requests, counted = anyio.run(read)
    assert b"".join(parts[:2]) == LARGE[5_000_000:5_000_200]
    assert parts[2:] == [LARGE[7:17], LARGE[-5:], b""]
    assert position == len(LARGE)
    assert etag
    assert preamble == "zero"
    assert requests == counted == 3


def test_the_asynchronous_file_opens_a_path_by_itself():
    async def read():
        async with harvester.aopen_object(str(CT)) as file:
            return await file.read()

    assert anyio.run(read) == CT.read_bytes()


def test_a_closed_loop_starts_anew():
    engine = LoopThread()

    async def here():
        return threading.current_thread()

    first = engine.call(here)
    engine.close()
    first.join(10)
    assert not first.is_alive()
    assert engine.call(here) is not first
    engine.close()


def test_a_program_that_read_an_object_ends():
    program = f"import harvester; print(len(harvester.open_object({str(CT)!r}).read()))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert done.stdout.strip() == str(CT.stat().st_size)
    assert done.stderr == ""


def test_a_child_process_reads_with_its_own_loop():
    program = (
        "import harvester, os, sys\n"
        f"harvester.open_object({str(CT)!r}).read()\n"
        "child = os.fork()\n"
        f"size = len(harvester.open_object({str(CT)!r}).read())\n"
        "if child == 0: os._exit(0 if size else 1)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    subprocess.run([sys.executable, "-c", program], timeout=300, check=True)
