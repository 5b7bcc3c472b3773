import json
import pickle
import random

import pytest

from harvester.errors import ServerFaultError, ThrottledError
from harvester.store.telemetry import EndpointTelemetry, Histogram, Recorder, Telemetry


def recorded(answers: int = 3) -> Recorder:
    recorder = Recorder()
    for _ in range(answers):
        recorder.succeeded(0.02, requests=2, bytes_fetched=100)
    recorder.failed(ThrottledError("slow down"))
    recorder.failed(ServerFaultError("broken"))
    recorder.retried(ThrottledError("slow down"))
    recorder.sample(10.0, 7)
    return recorder


def test_what_happened_is_counted():
    told = recorded().snapshot()
    assert (told.requests, told.responses, told.bytes_fetched, told.throttles) == (8, 3, 300, 1)
    assert told.failures == {"throttled": 1, "server_error": 1}
    assert told.retries == {"throttled": 1}
    assert told.latency.total == 3
    assert list(told.concurrency.values()) == [7]


def test_a_snapshot_stays_as_it_was():
    recorder = recorded()
    before, again = recorder.snapshot(), recorder.snapshot()
    recorder.succeeded(0.02, 1, 1)
    recorder.failed(ThrottledError("slow down"))
    recorder.sample(20.0, 9)
    assert before == again
    assert before.latency.total == 3


def test_processes_are_added_up():
    one = Telemetry({"s3://a": recorded(3).snapshot(), "s3://b": recorded(1).snapshot()})
    two = Telemetry({"s3://a": recorded(4).snapshot()})
    merged = one.merged(two)
    assert merged.endpoints["s3://a"].responses == 7
    assert merged.endpoints["s3://a"].failures == {"throttled": 2, "server_error": 2}
    assert merged.endpoints["s3://a"].latency.total == 7
    assert max(merged.endpoints["s3://a"].concurrency.values()) in (7, 14)
    assert merged.endpoints["s3://b"].responses == 1
    assert merged.total.responses == 8


def test_processes_that_work_at_once_have_their_requests_at_once():
    one = EndpointTelemetry(concurrency={100: 5, 101: 6})
    two = EndpointTelemetry(concurrency={100: 9, 102: 1}, sample_seconds=2)
    assert one.merged(two).concurrency == {100: 15, 102: 1}


def test_it_crosses_processes_and_goes_into_a_record():
    told = Telemetry({"gs://scans": recorded().snapshot()})
    assert pickle.loads(pickle.dumps(told)) == told
    plain = json.loads(json.dumps(told.to_dict()))
    assert plain["gs://scans"]["answers"] == 3
    assert sum(plain["gs://scans"]["latency"]) == 3
    assert 0.019 < plain["gs://scans"]["latency_seconds"]["p50"] < 0.021


def test_samples_have_a_bound_however_long_it_takes():
    recorder = Recorder()
    for second in range(100_000):
        recorder.sample(float(second), 1 + (second == 777))
    told = recorder.snapshot()
    assert len(told.concurrency) <= 240
    assert max(told.concurrency.values()) == 2
    far = EndpointTelemetry(concurrency={second + 10**9: 1 for second in range(240)})
    assert len(told.merged(far).concurrency) <= 240


def test_a_percentile_is_right_within_a_twentieth():
    histogram = Histogram()
    drawn = random.Random(1)
    seconds = sorted(drawn.lognormvariate(-3.0, 1.0) for _ in range(20_000))
    for one in seconds:
        histogram.add(one)
    for percent in (1, 50, 90, 99, 99.9):
        exact = seconds[int(len(seconds) * percent / 100)]
        assert histogram.percentile(percent) == pytest.approx(exact, rel=0.05)
    assert histogram.total == 20_000


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-9, 1e9])
def test_what_is_beyond_is_counted_at_the_ends(seconds):
    histogram = Histogram()
    histogram.add(seconds)
    assert histogram.total == 1
    assert histogram.percentile(50) == pytest.approx(1e-4 if seconds < 1 else 1670.0, rel=0.1)


def test_an_empty_one_has_no_percentile():
    assert Histogram().percentile(50) is None


def test_two_add_up():
    one, two = Histogram(), Histogram()
    for _ in range(99):
        one.add(0.01)
    two.add(10.0)
    both = one.merged(two)
    assert both.total == 100
    assert both.percentile(99) == pytest.approx(0.01, rel=0.05)
    assert both.percentile(100) == pytest.approx(10.0, rel=0.05)
    assert one.total == 99
