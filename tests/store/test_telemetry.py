import json
import pickle

from harvester.errors import ServerFaultError, ThrottledError
from harvester.store.telemetry import EndpointTelemetry, Recorder, Telemetry


def recorded(answers: int = 3) -> Recorder:
    recorder = Recorder()
    for _ in range(answers):
        recorder.answered(0.02, requests=2, bytes_fetched=100)
    recorder.failed(ThrottledError("slow down"))
    recorder.failed(ServerFaultError("broken"))
    recorder.tried_again(ThrottledError("slow down"))
    recorder.sample(10.0, 7)
    return recorder


def test_what_happened_is_counted():
    told = recorded().snapshot()
    assert (told.requests, told.answers, told.bytes_fetched, told.throttles) == (8, 3, 300, 1)
    assert told.failures == {"throttled": 1, "server_error": 1}
    assert told.retries == {"throttled": 1}
    assert told.latency.total == 3
    assert list(told.concurrency.values()) == [7]


def test_a_snapshot_stays_as_it_was():
    recorder = recorded()
    before = recorder.snapshot()
    recorder.answered(0.02, 1, 1)
    recorder.failed(ThrottledError("slow down"))
    recorder.sample(20.0, 9)
    assert before == recorded_again(before)
    assert before.latency.total == 3


def recorded_again(told: EndpointTelemetry) -> EndpointTelemetry:
    return Telemetry.from_dict(Telemetry({"x": told}).to_dict()).endpoints["x"]


def test_processes_are_added_up():
    one = Telemetry({"s3://a": recorded(3).snapshot(), "s3://b": recorded(1).snapshot()})
    two = Telemetry({"s3://a": recorded(4).snapshot()})
    merged = one.merged(two)
    assert merged.endpoints["s3://a"].answers == 7
    assert merged.endpoints["s3://a"].failures == {"throttled": 2, "server_error": 2}
    assert merged.endpoints["s3://a"].latency.total == 7
    assert max(merged.endpoints["s3://a"].concurrency.values()) in (7, 14)
    assert merged.endpoints["s3://b"].answers == 1
    assert merged.total.answers == 8


def test_processes_that_work_at_once_have_their_requests_at_once():
    one = EndpointTelemetry(concurrency={100: 5, 101: 6})
    two = EndpointTelemetry(concurrency={100: 9, 102: 1}, sample_seconds=2)
    assert one.merged(two).concurrency == {100: 15, 102: 1}


def test_it_crosses_processes_and_goes_into_a_record():
    told = Telemetry({"gs://scans": recorded().snapshot()})
    assert pickle.loads(pickle.dumps(told)) == told
    plain = json.loads(json.dumps(told.to_dict()))
    assert Telemetry.from_dict(plain) == told
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
