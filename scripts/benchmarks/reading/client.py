"""Reads objects as one client does: `client.py CLIENT TASK ENDPOINT BUCKET`, a key on each line of input.

For each it prints one JSON object: the seconds that it took, and what was read.
"""

import gc
import hashlib
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import BinaryIO

import highdicom
import pydicom

REGION = 512  # pixels, both ways

# Opens an object as a file.
Opener = Callable[[str, str], AbstractContextManager[BinaryIO]]


def harvester_file(endpoint: str) -> Opener:
    """harvester: `open_object`."""
    import harvester  # noqa: PLC0415  only what is measured is imported
    from harvester.reader.event_loop import LOOP  # noqa: PLC0415

    LOOP.store(endpoint)  # as a client is made
    return lambda bucket, key: harvester.open_object(f"s3://{bucket}/{key}", endpoint=endpoint)


def forgetful(endpoint: str) -> Opener:
    """harvester, as if each object were the first one of its kind that is read."""
    from harvester.reader.frame_lookup import FRAME_INDEXES  # noqa: PLC0415
    from harvester.reader.header_lengths import RECENT_LENGTHS  # noqa: PLC0415

    opened = harvester_file(endpoint)

    def open_anew(bucket: str, key: str) -> AbstractContextManager[BinaryIO]:
        RECENT_LENGTHS.clear()
        FRAME_INDEXES.clear()
        return opened(bucket, key)

    return open_anew


def blob_reader(endpoint: str) -> Opener:
    """google-cloud-storage: `Blob.open`, which is a BlobReader."""
    from google.auth.credentials import AnonymousCredentials  # noqa: PLC0415
    from google.cloud import storage  # noqa: PLC0415

    client = storage.Client(
        project="none", credentials=AnonymousCredentials(), client_options={"api_endpoint": endpoint}
    )
    return lambda bucket, key: client.bucket(bucket).blob(key).open("rb")


def smart_open(endpoint: str) -> Opener:
    """smart_open, over one S3 client."""
    import boto3  # noqa: PLC0415
    import smart_open as library  # noqa: PLC0415
    from botocore import UNSIGNED  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    config = Config(signature_version=UNSIGNED, s3={"addressing_style": "path"})
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", config=config)
    return lambda bucket, key: library.open(f"s3://{bucket}/{key}", "rb", transport_params={"client": client})


def obstore_fsspec(endpoint: str) -> Opener:
    """obstore: its fsspec store."""
    from obstore.fsspec import FsspecStore  # noqa: PLC0415

    files = FsspecStore(
        "s3",
        config={
            "endpoint": endpoint,
            "region": "us-east-1",
            "skip_signature": True,
            "virtual_hosted_style_request": False,
        },
        client_options={"allow_http": True},
    )
    return lambda bucket, key: files.open(f"s3://{bucket}/{key}", "rb")


def metadata(stream: BinaryIO) -> str:
    """Everything in front of the pixel data, by pydicom."""
    return str(pydicom.dcmread(stream, stop_before_pixels=True).NumberOfFrames)


def region(stream: BinaryIO) -> str:
    """A region from the middle of a slide, by highdicom; its digest."""
    image = highdicom.imread(stream, lazy_frame_retrieval=True)
    row, column = image.TotalPixelMatrixRows // 2 + 100, image.TotalPixelMatrixColumns // 2 + 100
    pixels = image.get_total_pixel_matrix(
        row_start=row, row_end=row + REGION, column_start=column, column_end=column + REGION
    )
    return hashlib.sha256(pixels.tobytes()).hexdigest()


CLIENTS: dict[str, Callable[[str], Opener]] = {
    "harvester": harvester_file,
    "harvester, the first of its kind": forgetful,
    "google-cloud-storage BlobReader": blob_reader,
    "smart_open": smart_open,
    "obstore's fsspec store": obstore_fsspec,
}
TASKS: dict[str, Callable[[BinaryIO], str]] = {"metadata": metadata, "region": region}


def main() -> None:
    """Read objects until there are no more keys."""
    client, task, endpoint, bucket = sys.argv[1:]
    warnings.simplefilter("ignore")
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    open_object, read = CLIENTS[client](endpoint), TASKS[task]
    for line in sys.stdin:
        gc.collect()  # what the last read left behind is not this one's
        started = time.perf_counter()
        with open_object(bucket, line.strip()) as stream:
            found = read(stream)
        print(json.dumps({"seconds": time.perf_counter() - started, "found": found}), flush=True)


if __name__ == "__main__":
    main()
