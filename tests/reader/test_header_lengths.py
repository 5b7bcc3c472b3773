"""The last headers of a bucket predict the first window of the next object."""

import anyio
import pytest
from made_part10 import element, part10
from memory_store import MemoryStore

import harvester
from harvester.fetch.window_predictor import ObjectTraits
from harvester.reader.header_lengths import RecentLengths

KIB = 1 << 10


def window(needs, kind="s3://one/series"):
    lengths = RecentLengths(64 * KIB)
    for need in needs:
        lengths.learn(ObjectTraits("s3://one/another series"), [need])
    (found,) = anyio.run(lengths.windows, ObjectTraits(kind))
    return found


@pytest.mark.parametrize(
    ("needs", "least", "most"),
    [
        ([], 64 * KIB, 64 * KIB),
        ([4000] * 5, 64 * KIB, 64 * KIB),
        ([500_000], 500_000, 520_000),
        ([500_000, 4000, 4000, 4000], 500_000, 520_000),
        ([500_000, 4000, 4000, 4000, 4000], 64 * KIB, 64 * KIB),
        ([20_000_000, 4000], 1 << 20, 1.1 * (1 << 20)),
        ([3_000_000, 5_000_000], 3_000_000, 3_100_000),
        ([90_000_000] * 4, 8 << 20, 8.2 * (1 << 20)),
    ],
)
def test_the_window_fits_the_last_four(needs, least, most):
    assert least <= window(needs) <= most


def test_another_bucket_has_no_influence():
    assert window([500_000], "s3://two/series") == 64 * KIB


def test_the_second_object_with_a_long_header_is_opened_in_one_request():
    raw = part10(*(element(0x00100020 + number, "UN", bytes(3000)) for number in range(150)))
    store = MemoryStore({f"s3://bucket/{name}/1.dcm": raw for name in "abc"})
    requests = []
    for name in "abc":
        requests.append(-store.requests)
        harvester.open_object(f"s3://bucket/{name}/1.dcm", store=store)
        requests[-1] += store.requests
    assert requests == [2, 1, 1]


def test_the_first_header_of_a_series_predicts_the_others():
    raw = part10(element(0x00100020, "LO", b"P1"), element(0x7FE00010, "OW", bytes(400_000)))
    urls = [f"s3://bucket/series/{number}.dcm" for number in range(50)]
    store = MemoryStore(dict.fromkeys(urls, raw))
    assert len(harvester.read_headers(urls, store=store)) == 50
    assert store.requests == 50
    assert store.bytes_fetched < 64 * KIB + 49 * 600
