"""Header parsing: harvester's parser and columns against pydicom's dcmread and to_json_dict."""

import argparse
import io
import logging
import os
import platform
import random
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.data import get_testdata_files
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from harvester.dicom import (
    ElementCache,
    Header,
    HeaderParser,
    InstanceColumns,
    NeedMore,
    PlainFirstParser,
    PlainHeaders,
)
from harvester.dicom.compiled import status
from harvester.dicom.header_limits import MAX_HEADER_BYTES
from harvester.engine.shard_task import collect_garbage_rarely
from harvester.errors import HarvestError

CORPUS = Path(__file__).parents[2] / "../shared/corpus"
SIBLINGS = 8  # instances of a synthetic series
# Attributes that differ between the instances of a series.
VARYING = {0x00020003, 0x00080018, 0x00080013, 0x00080032, 0x00080033, 0x00200013, 0x00200032, 0x00201041}
TIMES = {0x00080013, 0x00080032, 0x00080033}


@dataclass(frozen=True)
class Instance:
    """The first bytes of an object, enough for its header, and the object's size."""

    content: bytes
    size: int


def parsed(instance: Instance, headers: PlainHeaders, cache: ElementCache | None = None) -> Header:
    """The header, parsed from as many bytes as needed."""
    answer = PlainFirstParser(headers, instance.size, cache).feed(instance.content)
    if isinstance(answer, NeedMore):
        raise TypeError(f"the benchmark kept too few bytes: {answer}")
    return answer


def instances(paths: list[Path]) -> Iterator[Instance]:
    """The objects with pixel data that both pydicom and harvester can read."""
    for path in paths:
        content = path.read_bytes()
        try:
            answer = HeaderParser(len(content)).feed(content)
        except HarvestError:
            continue
        if isinstance(answer, NeedMore) or answer.pixel_data_keyword is None:
            continue
        kept = len(content) if answer.deflated else answer.header_bytes + 20
        instance = Instance(content[:kept], len(content))
        try:
            with_pydicom(instance)
        except (ValueError, NotImplementedError, OSError, AttributeError, TypeError):
            continue
        yield instance


def siblings(instance: Instance) -> list[Instance]:
    """A series of the same header with other UIDs, numbers, times and positions of the same length."""
    header = parsed(instance, PlainHeaders(MAX_HEADER_BYTES))
    if header.deflated:
        return [instance] * SIBLINGS
    chance = random.Random(4711)  # noqa: S311  no secret
    made = []
    for _ in range(SIBLINGS):
        content = bytearray(instance.content)
        for tag, vr, _raw, offset, length in header.elements:
            if tag in VARYING and vr != "SQ":
                # Digits 1 and 2 always give a valid time; invalid times take harvester longer.
                last = 0x32 if tag in TIMES else 0x39
                for at in range(offset, min(offset + length, len(content))):
                    if 0x31 <= content[at] <= 0x39:
                        content[at] = chance.randrange(0x31, last + 1)
        made.append(Instance(bytes(content), instance.size))
    return made


def with_pydicom(instance: Instance) -> None:
    """The usual way to plain values of a header with pydicom."""
    pydicom.dcmread(io.BytesIO(instance.content), stop_before_pixels=True, force=True).to_json_dict()


def seconds(work: Callable[[], object], runs: int) -> float:
    """The median of several runs, after one to warm up."""
    work()
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def corpus(series: list[list[Instance]], runs: int) -> None:
    """Print both ratios over all image headers: as instances of series, and each unlike those before."""
    every = [instance for members in series for instance in members]
    slow = seconds(lambda: [with_pydicom(instance) for instance in every], max(1, runs // 3)) / SIBLINGS

    def harvest(members: list[Instance], columns: InstanceColumns) -> None:
        cache = ElementCache()  # a crawl has one for each series
        for instance in members:
            columns.append(parsed(instance, headers, cache))

    columns, headers = InstanceColumns(), PlainHeaders(MAX_HEADER_BYTES)

    def warm() -> None:
        for members in series:
            harvest(members, columns)
        columns.finish()

    def cold() -> None:
        fresh = InstanceColumns()
        for members in series:
            harvest(members[:1], fresh)
        fresh.finish()

    quick, first = seconds(warm, runs) / SIBLINGS, seconds(cold, runs)
    count = len(series)
    print(f"{count} image headers, {sum(len(members[0].content) for members in series):,} bytes")
    print(f"  pydicom dcmread + to_json_dict   {slow * 1e3:9.1f} ms  {slow / count * 1e6:8.1f} us per header")
    print(f"  harvester, series of {SIBLINGS}           {quick * 1e3:9.1f} ms  {slow / quick:6.1f}x")
    print(f"  harvester, first sight           {first * 1e3:9.1f} ms  {slow / first:6.1f}x")


def frames(count: int, runs: int) -> None:
    """A header with a functional group item for each frame."""
    content = functional_groups(count)
    instance = Instance(content, len(content))
    slow = seconds(lambda: with_pydicom(instance), 3)
    columns, headers = InstanceColumns(), PlainHeaders(MAX_HEADER_BYTES)

    def harvest() -> None:
        columns.append(parsed(instance, headers))
        columns.finish()

    quick = seconds(harvest, runs)
    print(f"{count} frames in functional groups, {len(content):,} bytes")
    print(f"  pydicom   {slow * 1e3:9.1f} ms")
    print(f"  harvester {quick * 1e3:9.1f} ms  {slow / quick:6.1f}x")


def lengths(runs: int) -> None:
    """Print the time per byte, from small headers to large ones."""
    print("time per byte by the header's length")
    columns, headers = InstanceColumns(), PlainHeaders(MAX_HEADER_BYTES)
    for count in (2, 32, 256, 2048, 16384):
        content = functional_groups(count, uneven=True)
        instance = Instance(content, len(content))

        def harvest(instance: Instance = instance) -> None:
            columns.append(parsed(instance, headers))

        spent = seconds(harvest, runs)
        columns.finish()
        print(
            f"  {len(content):9,} bytes  {spent * 1e3:9.2f} ms  {spent / len(content) * 1e9:6.1f} ns a byte"
        )


def functional_groups(count: int, *, uneven: bool = False) -> bytes:
    """A synthetic enhanced object with `count` frames; uneven ones differ also in their values' lengths."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset("made", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.Modality = "CT"
    dataset.NumberOfFrames = count
    dataset.PerFrameFunctionalGroupsSequence = Sequence(
        _frame(number, uneven=uneven) for number in range(count)
    )
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _frame(number: int, *, uneven: bool) -> Dataset:
    content, position, orientation, measures = Dataset(), Dataset(), Dataset(), Dataset()
    content.DimensionIndexValues = [1, number + 1]
    content.FrameAcquisitionNumber = number
    z = f"{number * 0.625:.4f}" if uneven else f"{number * 0.625:010.4f}"
    position.ImagePositionPatient = ["-125.0", "-125.0", z]
    orientation.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    measures.SliceThickness = "0.625"
    measures.PixelSpacing = ["0.488", "0.488"]
    frame = Dataset()
    frame.FrameContentSequence = [content]
    frame.PlanePositionSequence = [position]
    frame.PlaneOrientationSequence = [orientation]
    frame.PixelMeasuresSequence = [measures]
    return frame


def main() -> None:
    """Run all measurements and print the figures, with what they were measured on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--corpus",
        type=Path,
        default=CORPUS if CORPUS.is_dir() else None,
        help="a folder of DICOM files; default: the tests' corpus if present, else pydicom's files",
    )
    parser.add_argument("--runs", type=int, default=9)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    paths = (
        sorted(path for path in arguments.corpus.rglob("*") if path.is_file())
        if arguments.corpus
        else [Path(path) for path in get_testdata_files("*.dcm")]
    )
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    print(
        f"commit {commit.stdout.strip() or 'unknown'}, Python {platform.python_version()}, "
        f"pydicom {pydicom.__version__}, {os.cpu_count()} cores, median of {arguments.runs} runs; "
        f"compiled core: {status()}"
    )
    series = [siblings(instance) for instance in instances(paths)]
    if not series:
        sys.exit("no DICOM files with pixel data found")
    collect_garbage_rarely()  # as in every process that harvests; it makes pydicom faster, too
    corpus(series, arguments.runs)
    frames(3000, arguments.runs)
    lengths(arguments.runs)


if __name__ == "__main__":
    main()
