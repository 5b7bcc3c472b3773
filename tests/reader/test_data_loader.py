"""Worker processes of a data loader read objects and frames of files that were opened before."""

import multiprocessing
import queue
import warnings

import pytest
from frame_reading import made
from recorded_demo import recorded_demo

import harvester

COUNT = 200
WORKERS = 2


class Frames:
    """A map-style data set as PyTorch takes it: a length, and an item for each number."""

    def __init__(self, urls, endpoint, file):
        self.urls = urls
        self.endpoint = endpoint
        self.file = file  # opened by the parent process

    def __len__(self):
        return len(self.urls)

    def __getitem__(self, place):
        (frame,) = harvester.read_frames(self.urls[place], [2], False, endpoint=self.endpoint)
        return place, frame, self.file.read_at(128, 4)


def work(data_set, indexes, results):
    """The loop of a loader's worker."""
    while (place := indexes.get(timeout=300)) is not None:
        results.put(data_set[place])


def image(number):
    return b"\xff\xd8\xff\xe0" + number.to_bytes(2, "big") * 1000


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_two_workers_read_two_hundred_objects(tmp_path, method):
    folder = tmp_path / "slides"
    folder.mkdir()
    for number in range(COUNT):
        (folder / f"{number:03d}.dcm").write_bytes(made([[image(0)], [image(number)], [image(1)]]))
    with recorded_demo(tmp_path) as demo:
        endpoint = demo.address.endpoint
        urls = listed(endpoint)
        assert len(urls) == COUNT
        file = harvester.open_object(urls[0], endpoint=endpoint)
        data_set = Frames(urls, endpoint, file)
        context = multiprocessing.get_context(method)
        indexes, results = context.Queue(), context.Queue()
        workers = [context.Process(target=work, args=(data_set, indexes, results)) for _ in range(WORKERS)]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
                for worker in workers:
                    worker.start()
            for place in [*range(COUNT), *[None] * WORKERS]:
                indexes.put(place)
            found = [results.get(timeout=550) for _ in range(COUNT)]
            for worker in workers:
                worker.join(30)
            assert [worker.exitcode for worker in workers] == [0] * WORKERS
        except queue.Empty:
            pytest.fail("the workers gave nothing")
        finally:
            for worker in workers:
                worker.kill()
        assert sorted(place for place, _, _ in found) == list(range(COUNT))
        assert {start for _, _, start in found} == {b"DICM"}
        assert {frame for _, frame, _ in found} == {image(number) for number in range(COUNT)}
        assert len(file.read()) == file.size  # the parent goes on


def listed(endpoint):
    fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")
    files = fsspec.filesystem("harvester", endpoint=endpoint)
    files.dircache.clear()
    return [f"harvester://{path}" for path in files.find("s3/idc-open-data")]
