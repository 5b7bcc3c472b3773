import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
from pydicom.data import get_testdata_file

KEPT_SMALL = """
import sys
from harvester.engine.workers.memory import keep_small
keep_small()
import pyarrow
print(pyarrow.default_memory_pool().backend_name, pyarrow.array(["a"])[0], "pandas" in sys.modules)
print(list(pyarrow.table({"a": [1, 2]}).to_pandas().a))
import pandas
print(pyarrow.array(pandas.Series([1.0, None])).null_count)
"""
CRAWL = """
import sys
from harvester.cli import main
try:
    main()
finally:
    print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def said(program: str, *arguments: str, **environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_process_that_is_kept_small_loads_pandas_only_when_it_is_used():
    assert said(KEPT_SMALL) == ["system a False", "[1, 2]", "1"]


def test_what_an_operator_has_set_stays():
    assert said(KEPT_SMALL, ARROW_DEFAULT_MEMORY_POOL="mimalloc")[0] == "mimalloc a False"


def test_a_crawl_of_listed_objects_loads_no_database_and_no_data_frames(tmp_path: Path):
    listed = [get_testdata_file(name) for name in ("CT_small.dcm", "MR_small.dcm")]
    (tmp_path / "urls.txt").write_text("\n".join(map(str, listed)))
    toml = tmp_path / "crawl.toml"
    toml.write_text(f'dataset = "{tmp_path}/d"\nselect.urls = "{tmp_path}/urls.txt"\nlimits.processes = 1\n')
    packages = set(said(CRAWL, "crawl", str(toml))[-1].split())
    assert "pyarrow" in packages
    assert not packages & {"aiohttp", "duckdb", "pandas"}
    parts = list((tmp_path / "d" / "instances").rglob("*.parquet"))
    assert sum(pq.ParquetFile(part).metadata.num_rows for part in parts) == 2


def test_a_worker_loads_no_database():
    loaded = "import sys, harvester.engine.workers.process_main; print(*sys.modules)"
    assert not set(said(loaded)[0].split()) & {"duckdb", "pandas", "idc_index_data"}
