"""A demo bucket of a few files, with a secret above its root."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from anyio.from_thread import start_blocking_portal
from botocore import UNSIGNED
from botocore.client import BaseClient
from botocore.config import Config
from demo_requests import BIG, SECRET
from pydicom.data import get_testdata_file

from harvester.demo import DemoAddress, demo_bucket, lay_out


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    above = tmp_path_factory.mktemp("above")
    (above / "secret").write_bytes(SECRET)
    root = above / "root"
    (root / "study").mkdir(parents=True)
    for name in ("CT_small.dcm", "MR_small.dcm", "rtplan.dcm"):
        shutil.copy(str(get_testdata_file(name)), root / "study" / name)
    (root / "study" / "empty").touch()
    (root / "study" / "big").write_bytes(bytes(range(251)) * (BIG // 251) + bytes(BIG % 251))
    (root / "study" / "link").symlink_to(above / "secret")
    return root


@pytest.fixture(scope="module")
def keys(root: Path) -> dict[str, str]:
    return {Path(instance.path).name: instance.key for instance in lay_out(root).instances}


@pytest.fixture(scope="module")
def address(root: Path) -> Iterator[DemoAddress]:
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(demo_bucket(root)) as address,
    ):
        yield address


@pytest.fixture(scope="module")
def client(address: DemoAddress) -> Iterator[BaseClient]:
    config = Config(signature_version=UNSIGNED, s3={"addressing_style": "path"}, retries={"max_attempts": 1})
    client = boto3.client("s3", endpoint_url=address.endpoint, region_name="us-east-1", config=config)
    yield client
    client.close()
