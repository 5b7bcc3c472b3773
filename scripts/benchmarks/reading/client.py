"""Reads objects as one client does: `client.py CLIENT TASK ENDPOINT BUCKET`, a key on each line of input.

For each it prints one JSON object: the seconds that it took, and what was read.
"""

import asyncio
import gc
import hashlib
import io
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, BinaryIO

import highdicom
import pydicom
from PIL import Image

REGION = 512  # pixels, both ways

# Opens an object as a file.
Opener = Callable[[str, str], AbstractContextManager[Any]]


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


class TiffSlide:
    """async-tiff over obstore: the tiles of a slide that is a TIFF file, too; pillow decodes them.

    What it finds is the digest of the compressed tiles, since highdicom corrects the colors of its pixels.
    """

    def __init__(self, endpoint: str, bucket: str) -> None:
        from obstore.store import S3Store  # noqa: PLC0415

        self._store = S3Store(
            bucket,
            endpoint=endpoint,
            region="us-east-1",
            skip_signature=True,
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
        )

    @contextmanager
    def open(self, key: str) -> Iterator["TiffSlide"]:
        """The slide of a key."""
        self._key = key
        yield self

    def region(self) -> str:
        """The tiles of a region from the middle; their digest."""
        return asyncio.run(self._region())

    async def _region(self) -> str:
        from async_tiff import TIFF  # noqa: PLC0415

        tiff = await TIFF.open(self._key, store=self._store)
        whole = tiff.ifds[0]
        tile = whole.tile_width
        row, column = whole.image_height // 2 + 99, whole.image_width // 2 + 99
        rows = range(row // tile, (row + REGION - 1) // tile + 1)
        columns = range(column // tile, (column + REGION - 1) // tile + 1)
        tiles = await tiff.fetch_tiles([(x, y) for y in rows for x in columns], 0)
        compressed = [bytes(one.compressed_bytes) for one in sorted(tiles, key=lambda one: (one.y, one.x))]
        for one in compressed:
            with Image.open(io.BytesIO(one)) as image:
                image.load()
        return hashlib.sha256(b"".join(compressed)).hexdigest()


def async_tiff(endpoint: str) -> Opener:
    """async-tiff: a slide's tiles, found by its TIFF directory."""
    slides: dict[str, TiffSlide] = {}

    def open_slide(bucket: str, key: str) -> AbstractContextManager[TiffSlide]:
        return slides.setdefault(bucket, TiffSlide(endpoint, bucket)).open(key)

    return open_slide


def metadata(stream: BinaryIO) -> str:
    """Everything in front of the pixel data, by pydicom."""
    return str(pydicom.dcmread(stream, stop_before_pixels=True).NumberOfFrames)


def region(stream: BinaryIO | TiffSlide) -> str:
    """A region from the middle of a slide, by highdicom if it is read as DICOM; its digest."""
    if isinstance(stream, TiffSlide):
        return stream.region()
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
    "async-tiff": async_tiff,
}
TASKS: dict[str, Callable[[Any], str]] = {"metadata": metadata, "region": region}


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
