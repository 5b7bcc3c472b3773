"""Reads headers with usual clients, in 32 threads: `idiom_clients.py NAME ENDPOINT FILE-OF-PATHS`."""

import io
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pydicom

THREADS = 32
RANGE = 1 << 16  # bytes that are requested where a client asks for a range: most headers are shorter

# A reader takes a bucket's name and a key, and reads one object's header.
Reader = Callable[[str, str], object]


def blob_reader(endpoint: str) -> Reader:
    """google-cloud-storage: `Blob.open`, which is a BlobReader."""
    from google.auth.credentials import AnonymousCredentials  # noqa: PLC0415  only what is measured is imported
    from google.cloud import storage  # noqa: PLC0415

    client = storage.Client(
        project="none", credentials=AnonymousCredentials(), client_options={"api_endpoint": endpoint}
    )

    def read(bucket: str, key: str) -> object:
        with client.bucket(bucket).blob(key).open("rb") as stream:
            return pydicom.dcmread(stream, stop_before_pixels=True)

    return read


def smart_open(endpoint: str) -> Reader:
    """smart_open, over one S3 client."""
    import smart_open as library  # noqa: PLC0415

    parameters = {"client": _s3_client(endpoint)}

    def read(bucket: str, key: str) -> object:
        with library.open(f"s3://{bucket}/{key}", "rb", transport_params=parameters) as stream:
            return pydicom.dcmread(stream, stop_before_pixels=True)

    return read


def boto3_download(endpoint: str) -> Reader:
    """boto3: the whole object, then its header."""
    client = _s3_client(endpoint)

    def read(bucket: str, key: str) -> object:
        content = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)

    return read


def s3fs(endpoint: str) -> Reader:
    """s3fs, with its defaults."""
    import s3fs as library  # noqa: PLC0415

    files = library.S3FileSystem(anon=True, endpoint_url=endpoint)

    def read(bucket: str, key: str) -> object:
        with files.open(f"{bucket}/{key}", "rb") as stream:
            return pydicom.dcmread(stream, stop_before_pixels=True)

    return read


def obstore_pydicom(endpoint: str) -> Reader:
    """obstore: one range, in which pydicom reads the header; of a longer one it reads what is there."""
    get_range = _obstore_range(endpoint)

    def read(bucket: str, key: str) -> object:
        return pydicom.dcmread(io.BytesIO(get_range(bucket, key)), stop_before_pixels=True)

    return read


def obstore_fw_file_rs(endpoint: str) -> Reader:
    """obstore: one range, whose header fw-file-rs turns into a JSON text; of a longer one what is there."""
    from fw_file_rs import dcm  # noqa: PLC0415

    get_range = _obstore_range(endpoint)

    def read(bucket: str, key: str) -> object:
        return json.dumps(dcm.parse_header_full(get_range(bucket, key)), default=str)

    return read


IDIOMS = {
    "google-cloud-storage BlobReader": blob_reader,
    "smart_open": smart_open,
    "boto3 whole download": boto3_download,
    "s3fs": s3fs,
    "obstore and pydicom": obstore_pydicom,
    "obstore and fw-file-rs": obstore_fw_file_rs,
}


def _obstore_range(endpoint: str) -> Callable[[str, str], bytes]:
    import obstore  # noqa: PLC0415
    from obstore.store import S3Store  # noqa: PLC0415

    stores: dict[str, S3Store] = {}

    def get_range(bucket: str, key: str) -> bytes:
        store = stores.get(bucket)
        if store is None:
            store = stores[bucket] = S3Store(
                bucket,
                endpoint=endpoint,
                region="us-east-1",
                skip_signature=True,
                client_options={"allow_http": True},
            )
        return bytes(obstore.get_range(store, key, start=0, length=RANGE))

    return get_range


def _s3_client(endpoint: str) -> object:
    import boto3  # noqa: PLC0415
    from botocore import UNSIGNED  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    config = Config(signature_version=UNSIGNED, max_pool_connections=THREADS, s3={"addressing_style": "path"})
    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", config=config)


def main() -> None:
    """Read all objects, and print the seconds and CPU seconds, without imports and the client's creation."""
    name, endpoint, paths = sys.argv[1:]
    warnings.simplefilter("ignore")
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    read = IDIOMS[name](endpoint)
    objects = [path[1:].split("/", 1) for path in Path(paths).read_text().splitlines()]
    started, cpu_before = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(THREADS) as threads:
        for _ in threads.map(lambda one: read(*one), objects):
            pass
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu_before
    print(json.dumps({"seconds": seconds, "cpu": cpu}))


if __name__ == "__main__":
    main()
