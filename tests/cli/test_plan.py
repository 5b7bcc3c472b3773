"""What a plan says of a crawl: how much, how fast this machine is and how that is known, and what binds."""

import json
from pathlib import Path

import anyio
import pytest
from harvester_program import run

from harvester.config import CrawlConfig, LimitsConfig
from harvester.demo.synthetic_bucket import SyntheticBucket
from harvester.demo.synthetic_server import synthetic_server_process
from harvester.engine.calibration import measured_rates, recorded_rates
from harvester.engine.crawl import crawl
from harvester.engine.estimate import Rates, estimate, forecast
from harvester.engine.shard import CrawlProgress
from harvester.model import SeriesTotals, Summary

SLICES = Summary({("c", "CT"): SeriesTotals(series=1000, instances=10**6, size=10**6 * 500_000)})
RATES = Rates(1000.0, "known")


def test_the_longest_of_cpu_service_and_network_binds() -> None:
    cost = estimate(SLICES)
    one, many = forecast(cost, RATES, 1), forecast(cost, RATES, 64)
    assert (one.binds, one.seconds) == ("cpu", pytest.approx(1000))
    assert many.binds == "service"
    assert many.seconds == pytest.approx(cost.requests / 5000)
    slow = estimate(SLICES, LimitsConfig(requests_per_second=50))
    polite = forecast(slow, RATES, 64)
    assert polite.seconds == pytest.approx(cost.requests / 50)
    slides = estimate(Summary({("c", "SEG"): SeriesTotals(series=10**5, instances=10**5, size=10**13)}))
    assert forecast(slides, RATES, 64).binds == "network"


def test_larger_headers_take_more_of_a_core_unless_such_were_measured() -> None:
    slides = estimate(Summary({("c", "SM"): SeriesTotals(series=10, instances=1000, size=1000 * 10**8)}))
    assert forecast(slides, RATES, 1).core_seconds == pytest.approx(4.0)
    assert forecast(slides, Rates(1000.0, "x", of_selection=True), 1).core_seconds == pytest.approx(1.0)


def test_a_machine_without_a_record_is_tried_out() -> None:
    rates = measured_rates()
    assert 50 < rates.headers_per_core_second < 50_000
    assert "2,800 synthetic CT slices" in rates.basis
    assert not rates.of_selection


def test_the_record_of_a_run_tells_the_rate_of_the_next(tmp_path: Path) -> None:
    SyntheticBucket(1200).write_catalog(tmp_path / "catalog.parquet")
    toml = tmp_path / "crawl.toml"
    with synthetic_server_process(1200) as address:
        source = {"catalog": str(tmp_path / "catalog.parquet"), "endpoint": address.endpoint}
        config = {"dataset": str(tmp_path / "data"), "source": source, "limits": {"processes": 1}}
        assert recorded_rates(config["dataset"]) is None
        anyio.run(crawl, CrawlConfig.model_validate(config), CrawlProgress())
    rates = recorded_rates(str(tmp_path / "data"))
    assert rates is not None
    assert rates.of_selection
    assert f"{tmp_path}/data/_harvest/runs/" in rates.basis
    toml.write_text(f'dataset = "{tmp_path}/data"\n[source]\ncatalog = "{tmp_path}/catalog.parquet"\n')
    facts = json.loads(run("plan", toml, "--json", "--processes", "2").stdout)
    assert (facts["instances"], facts["shards"], facts["cores"]) == (1200, 1, 2)
    assert facts["rates"]["headers_per_core_second"] == pytest.approx(rates.headers_per_core_second)
    assert facts["seconds"] == pytest.approx(facts["seconds_by_cause"][facts["binds"]])
    said = run("plan", toml)
    assert (said.status, said.stderr) == (0, "")
    assert "22 series, 1,200 instances" in said.stdout
    (record,) = (tmp_path / "data/_harvest/runs").iterdir()
    record.write_text("{")
    assert recorded_rates(str(tmp_path / "data")) is None
