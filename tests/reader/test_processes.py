"""Opened files in other processes and in many threads, and what closing them leaves."""

import pickle
import random
import subprocess
import sys
import textwrap
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pydicom
import pytest
from frame_reading import made
from made_part10 import element, part10
from memory_store import MemoryStore
from pydicom.encaps import get_frame
from recorded_demo import recorded_demo

import harvester
from harvester.errors import ConfigError, NotFoundError, ObjectChangedError
from harvester.model import ObjectRef
from harvester.reader.event_loop import LOOP
from harvester.reader.frame_lookup import FRAME_INDEXES

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

IMAGES = [b"\xff\xd8\xff\xe0" + number.to_bytes(2, "big") * 5_000 for number in range(200)]
SLIDE = made([[image] for image in IMAGES])
WORDS = np.arange(2_000_000, dtype=">u8").tobytes()
LARGE = part10(element(0x00080018, "UI", b"1.2\0"), element(0x7FE00010, "OW", WORDS))


@pytest.fixture
def bucket(tmp_path):
    """A bucket of one slide, and its file."""
    (tmp_path / "slides").mkdir()
    path = tmp_path / "slides" / "slide.dcm"
    path.write_bytes(SLIDE)
    with recorded_demo(tmp_path) as demo:
        yield demo, path


def url_of(demo):
    (listed,) = LOOP.call(all_objects, LOOP.store(demo.address.endpoint))
    return listed


async def all_objects(store):
    return [one.ref.url async for one in store.list_objects(ObjectRef("idc-open-data", ""))]


def run(program, *arguments):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout


@pytest.mark.parametrize("offset_table", ["auto", "extended", "none"])
def test_a_pickled_file_is_opened_again_as_it_was(bucket, offset_table):
    demo, _ = bucket
    file = harvester.open_object(url_of(demo), endpoint=demo.address.endpoint, offset_table=offset_table)
    whole = file.read()
    file.seek(1234)
    pickled = pickle.dumps(file)
    FRAME_INDEXES.clear()  # as in a process that knows nothing
    demo.forget()
    again = pickle.loads(pickled)
    assert (again.tell(), again.size, again.name) == (1234, file.size, file.name)
    assert len(demo.objects) == 1
    assert again.read() == whole[1234:]


def test_a_pickled_file_carries_its_frame_index(bucket):
    demo, _ = bucket
    file = harvester.open_object(url_of(demo), endpoint=demo.address.endpoint)
    pydicom.dcmread(file)
    pickled = pickle.dumps(file)
    FRAME_INDEXES.clear()
    again = pickle.loads(pickled)
    again.seek(0)
    header = pydicom.dcmread(again, stop_before_pixels=True)
    again.read(100)
    assert again.cost.bytes_fetched < len(SLIDE) / 5
    file.seek(0)
    assert header == pydicom.dcmread(file, stop_before_pixels=True)


def test_unpickling_a_file_of_a_replaced_object_fails(bucket):
    demo, path = bucket
    pickled = pickle.dumps(harvester.open_object(url_of(demo), endpoint=demo.address.endpoint))
    path.write_bytes(SLIDE[:-2] + b"??")
    with pytest.raises(ObjectChangedError, match="replaced"):
        pickle.loads(pickled)
    path.unlink()
    with pytest.raises(NotFoundError):
        pickle.loads(pickled)


def test_a_closed_file_or_one_with_its_own_store_cannot_be_pickled():
    file = harvester.open_object("s3://b/one.dcm", store=MemoryStore({"s3://b/one.dcm": SLIDE}))
    with pytest.raises(ConfigError, match=r"s3://b/one.dcm: .* its own store"):
        pickle.dumps(file)
    file.close()
    with pytest.raises(ValueError, match="closed"):
        pickle.dumps(file)


def test_reading_an_object_replaced_in_its_bucket_fails(bucket):
    demo, path = bucket
    file = harvester.open_object(url_of(demo), endpoint=demo.address.endpoint)
    path.write_bytes(SLIDE[:-2] + b"??")
    with pytest.raises(ObjectChangedError, match=r"idc-open-data.*dcm"):
        file.read_at(1_500_000, 10)
    again = harvester.open_object(url_of(demo), endpoint=demo.address.endpoint, offset_table="none")
    assert again.read()[-2:] == b"??"


def test_a_file_outlives_the_loop_that_opened_it(bucket):
    demo, _ = bucket
    file = harvester.open_object(url_of(demo), endpoint=demo.address.endpoint, offset_table="none")
    file.read_at(700_000, 10)
    LOOP.close()
    assert file.read_at(1_500_000, 10) == SLIDE[1_500_000:1_500_010]


def test_a_forked_process_reads_with_its_own_connections(bucket):
    demo, _ = bucket
    said = run(
        """
        import os, sys, warnings, harvester, pydicom
        warnings.simplefilter("ignore")  # of a fork beside threads
        file = harvester.open_object(sys.argv[1], endpoint=sys.argv[2])
        whole = file.read()
        file.seek(0)
        file.view.source.drop_cache()
        file._lock.acquire()  # as another thread may hold it
        children = []
        for _ in range(4):
            child = os.fork()
            if not child:
                same = file.read() == whole
                os._exit(0 if same else 1)
            children.append(child)
        file._lock.release()
        ended = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(ended, file.read() == whole)
        """,
        url_of(demo),
        demo.address.endpoint,
    )
    assert said == "[0, 0, 0, 0] True\n"


def test_a_spawned_process_reads_the_file_that_it_is_given(bucket, tmp_path):
    demo, _ = bucket
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            """
            import multiprocessing, sys, harvester
            def read(file):
                return file.read(100)[-4:]
            if __name__ == "__main__":
                with harvester.open_object(sys.argv[1], endpoint=sys.argv[2]) as file:
                    file.seek(100)
                    with multiprocessing.get_context("spawn").Pool(1) as pool:
                        print(pool.apply(read, (file,)) == file.read(100)[-4:])
            """
        )
    )
    done = subprocess.run(
        [sys.executable, program, url_of(demo), demo.address.endpoint],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_sixteen_threads_that_seek_and_read_at_random_get_true_bytes(tmp_path):
    path = tmp_path / "large.dcm"
    path.write_bytes(LARGE)
    file = harvester.open_object(str(path))
    first = len(LARGE) - len(WORDS)

    def work(seed):
        chance = random.Random(seed)
        for _ in range(60):
            place = chance.randrange(first // 8 + 1, 1_900_000) * 8 + first % 8
            length = chance.choice([8, 16, 4_000, 300_000])
            if chance.random() < 0.5:
                assert file.read_at(place, length) == LARGE[place : place + length]
            else:  # the position is everybody's: wherever it was, what is there was read
                file.seek(place)
                data = file.read(length)
                offset = (-(place - first)) % 8
                found = int.from_bytes(data[offset : offset + 8], "big") * 8 + first - offset
                assert data == LARGE[found : found + length]

    with ThreadPoolExecutor(16) as threads:
        for done in [threads.submit(work, seed) for seed in range(16)]:
            done.result()


def test_threads_that_open_the_same_slide_read_its_frames(bucket):
    demo, _ = bucket
    url = url_of(demo)

    def work(number):
        with harvester.open_object(url, endpoint=demo.address.endpoint) as file:
            return get_frame(pydicom.dcmread(file).PixelData, number, number_of_frames=200)

    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(work, range(32))) == IMAGES[:32]


def test_concurrent_threads_search_the_frames_once():
    store = MemoryStore({"s3://b/one.dcm": SLIDE})
    file = harvester.open_object("s3://b/one.dcm", store=store)
    with ThreadPoolExecutor(16) as threads:
        tables = set(threads.map(lambda _: file.read_at(320, 400), range(16)))
    assert len(tables) == 1
    assert store.bytes_fetched < 1.3 * len(SLIDE)


def test_opening_and_closing_leaves_no_thread_socket_or_warning(bucket):
    demo, _ = bucket
    said = run(
        """
        import gc, os, sys, threading, anyio, harvester
        from harvester.reader.event_loop import LOOP

        def sockets():
            found = 0
            for number in os.listdir("/proc/self/fd"):
                try:
                    found += os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
                except FileNotFoundError:
                    pass
            return found

        def once():
            with harvester.open_object(sys.argv[1], endpoint=sys.argv[2]) as file:
                file.read_at(1_000_000, 10)
            harvester.open_object(sys.argv[1], endpoint=sys.argv[2])  # never closed

        async def anew():
            async with harvester.aopen_object(sys.argv[1], endpoint=sys.argv[2]) as file:
                await file.read_at(1_000_000, 10)

        before = sockets()
        once()
        threads, few = threading.active_count(), sockets()
        for _ in range(40):
            once()
        anyio.run(anew)
        gc.collect()
        print(threading.active_count() - threads, sockets() <= few + 1)
        LOOP.close()
        gc.collect()
        print(sockets() - before)
        """,
        url_of(demo),
        demo.address.endpoint,
    )
    assert said == "0 True\n0\n"


def test_an_object_of_ten_gigabytes_is_read_in_little_memory(tmp_path):
    path = tmp_path / "huge.dcm"
    with path.open("wb") as stream:
        head = part10(element(0x00080018, "UI", b"1.2\0"), element(0x7FE00010, "OW", b"", 0xFFFFFFF0))
        stream.write(head)
        stream.truncate(10 << 30)
    file = harvester.open_object(str(path))
    chance = random.Random(1)
    tracemalloc.start()
    try:
        for _ in range(300):
            file.seek(chance.randrange(10 << 30))
            file.read(20_000)
        file.seek(5 << 30)
        for _ in range(150):
            assert len(file.read(1 << 20)) == 1 << 20
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert file.size == 10 << 30
    assert most < 80 << 20  # what is kept, and a stretch read ahead in parts and as a whole


def test_a_thousand_objects_opened_and_closed_leave_nothing(bucket):
    demo, _ = bucket
    said = run(
        """
        import gc, os, sys, threading, harvester

        def held():
            gc.collect()
            with open("/proc/self/statm") as pages:
                resident = int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            return len(os.listdir("/proc/self/fd")), threading.active_count(), resident

        def use(times):
            for number in range(times):
                with harvester.open_object(sys.argv[1], endpoint=sys.argv[2]) as file:
                    file.read_at(number * 500, 10)

        use(200)
        before = held()
        use(1000)
        after = held()
        print(after[0] - before[0] <= 1, after[1] - before[1], (after[2] - before[2]) >> 20 <= 1)
        """,
        url_of(demo),
        demo.address.endpoint,
    )
    assert said == "True 0 True\n"
