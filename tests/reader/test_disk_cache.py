"""A cache on a disk gives the bytes of one ETag, stays within its limit, and is shared by processes."""

import multiprocessing
import os
import pickle
import time
from array import array

import pytest
from frame_reading import made
from memory_store import MemoryStore

import harvester
from harvester.dicom.frames import FrameIndex
from harvester.errors import NotFoundError
from harvester.model import ByteRange
from harvester.reader.disk_cache import CachedRange, DiskCache
from harvester.reader.frame_lookup import FRAME_INDEXES

URL = "s3://bucket/slide.dcm"
IMAGES = [b"\xff\xd8\xff\xe0" + number.to_bytes(2, "big") * 5_000 for number in range(100)]
RAW = made([[image] for image in IMAGES])


def size_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def put(cache, number, size=1000):
    cache.write_range(f"s3://b/{number}", "e", CachedRange(bytes([number % 256]) * size, size), 0)


def get(cache, number, size=1000):
    return cache.read_range(f"s3://b/{number}", "e", ByteRange(0, size))


def test_what_was_read_is_not_requested_again(tmp_path):
    store = MemoryStore({URL: RAW})
    for _ in range(2):
        whole = harvester.open_object(URL, store=store, cache=tmp_path).read()
        assert harvester.read_frames(URL, [70, 71, 3], False, store=store, cache=str(tmp_path)) == [
            IMAGES[69],
            IMAGES[70],
            IMAGES[2],
        ]
    assert whole[-1000:] == RAW[-1000:]
    FRAME_INDEXES.clear()  # as in another process
    store.ranges.clear()
    file = harvester.open_object(URL, store=store, cache=DiskCache(tmp_path))
    assert file.read_at(file.size - 1_000_000, 20_000) == whole[-1_000_000:-980_000]
    harvester.read_frames(URL, [70, 71, 3], False, store=store, cache=tmp_path)
    assert [wanted.start for _, wanted in store.ranges] == [0, 0]  # for the ETag, once an opening


def test_without_a_cache_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    harvester.open_object(URL, store=MemoryStore({URL: RAW})).read()
    assert list(tmp_path.iterdir()) == []


def test_a_replaced_object_is_not_read_from_the_cache(tmp_path):
    store = MemoryStore({URL: RAW})
    harvester.open_object(URL, store=store, cache=tmp_path, offset_table="none").read()
    other = RAW[:-2] + b"??"
    store.put(URL, other)
    assert harvester.open_object(URL, store=store, cache=tmp_path, offset_table="none").read() == other


def test_local_files_are_not_copied(tmp_path):
    path = tmp_path / "slide.dcm"
    path.write_bytes(RAW)
    harvester.open_object(path, cache=tmp_path / "cache").read()
    assert size_of(tmp_path / "cache") == 0


def test_the_least_recently_used_is_deleted_and_the_limit_holds(tmp_path):
    cache = DiskCache(tmp_path, 20_000)
    kept = tmp_path / "kept.txt"
    kept.write_text("not ours")
    for number in range(60):
        put(cache, number)
        os.utime(next(iter(cache._object(f"s3://b/{number}", "e").iterdir())), (number, number))
        assert get(cache, 0) is not None
        assert size_of(tmp_path) <= 20_000 + 20_000 // 16 + 1000
    assert get(cache, 59) is not None
    assert get(cache, 10) is None
    assert kept.read_text() == "not ours"


@pytest.mark.parametrize(
    ("start", "stop", "found"), [(100, 200, True), (150, 180, True), (90, 120, False), (150, 250, False)]
)
def test_only_a_range_that_is_whole_is_found(tmp_path, start, stop, found):
    cache = DiskCache(tmp_path)
    cache.write_range(URL, "e", CachedRange(RAW[100:200], len(RAW)), 100)
    cached = cache.read_range(URL, "e", ByteRange(start, stop))
    assert (cached == CachedRange(RAW[start:stop], len(RAW))) if found else cached is None
    assert cache.read_range(URL, "other", ByteRange(100, 200)) is None


def test_damaged_and_foreign_files_are_ignored(tmp_path):
    cache = DiskCache(tmp_path)
    cache.write_index(URL, "e", FrameIndex("scan", array("Q", [1, 2]), array("Q", [3, 4]), True))
    assert cache.read_index(URL, "e") == FrameIndex("scan", array("Q", [1, 2]), array("Q", [3, 4]), True)
    put(cache, 1)
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        path.write_bytes(path.read_bytes()[:-7])
    (cache._object("s3://b/1", "e") / "notes").write_text("x")
    assert cache.read_index(URL, "e") is None
    assert get(cache, 1) is None


def test_a_wrong_index_is_found_out(tmp_path):
    store, cache = MemoryStore({URL: RAW}), DiskCache(tmp_path)
    etag = harvester.open_object(URL, store=store).etag
    cache.write_index(URL, etag, FrameIndex("scan", array("Q", [9] * 3), array("Q", [9] * 3)))
    FRAME_INDEXES.clear()
    assert harvester.read_frames(URL, [4], False, store=store, cache=cache) == [IMAGES[3]]


def test_a_folder_that_goes_away_stops_nothing(tmp_path, caplog):
    store, cache = MemoryStore({URL: RAW}), DiskCache(tmp_path / "cache")
    cache.folder.joinpath("harvester-ranges-1").rmdir()
    cache.folder.rmdir()
    cache.folder.write_text("in the way")
    assert harvester.read_frames(URL, [4], False, store=store, cache=cache) == [IMAGES[3]]
    assert "not cached" in caplog.text


def test_a_missing_object_is_missing_with_a_cache_too(tmp_path):
    with pytest.raises(NotFoundError):
        harvester.open_object(URL, store=MemoryStore(), cache=tmp_path)


def write_many(folder, seed):
    cache = DiskCache(folder, 30_000)
    for number in range(150):
        put(cache, (number * seed) % 50)
        found = get(cache, (number * 7) % 50)
        assert found is None or found.data == bytes([(number * 7) % 50]) * 1000


def test_processes_share_a_folder(tmp_path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=write_many, args=(tmp_path, seed)) for seed in (1, 3, 7, 11)]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(100)
        assert [worker.exitcode for worker in workers] == [0] * 4
    finally:
        for worker in workers:
            worker.kill()
    assert size_of(tmp_path) <= 30_000 + 4 * (30_000 // 16 + 1000)
    assert not list(tmp_path.rglob("new-*"))


def test_a_cache_can_be_pickled(tmp_path):
    cache = pickle.loads(pickle.dumps(DiskCache(tmp_path, 5000)))
    assert (cache.folder, cache.most_bytes) == (tmp_path, 5000)


def test_what_a_dead_process_left_is_deleted(tmp_path):
    cache = DiskCache(tmp_path, 10_000)
    put(cache, 1)
    (root,) = tmp_path.iterdir()
    for name, age in (("new-dead", 7200), ("new-alive", 0)):
        (root / name).write_bytes(bytes(1000))
        os.utime(root / name, (time.time() - age,) * 2)
    put(cache, 2)
    assert [one.name for one in root.glob("new-*")] == ["new-alive"]
