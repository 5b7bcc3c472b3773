"""`harvester frames`: reads single frames of an object."""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated, Final

import typer
from rich.console import Console

from harvester.cli.options import CredentialsOption, EndpointOption, ObjectArgument, file_errors, show
from harvester.dataset.output_file import replaced_file
from harvester.dicom import Header
from harvester.dicom.frames import FrameIndex
from harvester.errors import ConfigError
from harvester.messages import count, size
from harvester.model import ObjectRef
from harvester.reader.access import Access
from harvester.reader.dataset_hints import look_up_hints
from harvester.reader.event_loop import LOOP
from harvester.reader.opened_frames import OpenedFrames, open_frames

EPILOG: Final = (
    "Examples: `harvester frames slide.dcm`,"
    " `harvester frames s3://idc-open-data/SERIES/INSTANCE.dcm --frames 1,5-9 -o tiles`,"
    " `harvester frames slide.dcm --frames 1 --decode -o tiles`"
)
_FRAMES_IN_MEMORY: Final = 64
_RANGE: Final = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")
# The file name extension of a compressed frame, by transfer syntax (PS3.5 A.4).
_SUFFIXES: Final = (
    (("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"), ".jpg"),
    (("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"), ".jpg"),
    (("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"), ".jls"),
    (("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"), ".j2k"),
    (("1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.111", "1.2.840.10008.1.2.4.112"), ".jxl"),
    (("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203"), ".j2c"),
    (("1.2.840.10008.1.2.5",), ".rle"),
)


def command(  # noqa: PLR0913  one for each option
    url: ObjectArgument,
    *,
    frames: Annotated[
        str | None,
        typer.Option("--frames", metavar="NUMBERS", help="Frame numbers from 1: 1,5-9.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="The folder for the frames.", show_default=False),
    ] = None,
    decode: Annotated[
        bool, typer.Option("--decode", help="Write pixels (.npy), not the compressed image.")
    ] = False,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset", "-d", metavar="DATASET", help="May hold the frame index.", show_default=False
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the frame index as one JSON object.")
    ] = False,
    endpoint: EndpointOption = None,
    credentials: CredentialsOption = "none",
) -> None:
    """Read single frames of an object, fetching only their bytes.

    Without --frames, print how many frames there are and the source of the frame index.
    """
    if (frames is None) != (output is None):
        raise ConfigError("--frames and --output go together: the frames, and the folder to write them to")
    ref = ObjectRef.parse(url)
    if output is not None:
        with file_errors(output):  # before the object is read, which can be gigabytes
            TemporaryFile(
                dir=next(one for one in (output, *output.absolute().parents) if one.exists())
            ).close()
    (hints,) = look_up_hints(dataset, [ref])
    with _scan_status():
        opened = LOOP.call(open_frames, Access(endpoint, credentials=credentials).shared_store(), ref, hints)
    if frames is None or output is None:
        LOOP.call(opened.verify)
        show(_summary(opened, as_json=as_json))
        return
    numbers = _numbers(frames, len(opened.index))
    written = _write(opened, numbers, output, decode=decode)
    cost = opened.source.cost
    show(
        f"{count(len(numbers), 'frame')}, {size(written)}, into {output}; read in "
        f"{count(cost.requests, 'request')} and {size(cost.bytes_fetched)}",
        err=True,
    )


def _scan_status() -> AbstractContextManager[object]:
    """Shows on a terminal why opening can take long: a scan may read gigabytes."""
    if not sys.stderr.isatty():
        return nullcontext()
    return Console(stderr=True).status(
        "Finding the frames; without an offset table, the whole object is read"
    )


def _summary(opened: OpenedFrames, *, as_json: bool) -> str:
    index, header = opened.index, opened.header
    source = index.source if isinstance(index, FrameIndex) else "native"
    if not as_json:
        spans = (index.frame(number) for number in (1, len(index)))
        first, last = (f"{span.start:,}" for span in spans)
        return f"{count(len(index), 'frame')} ({source}), the first at byte {first}, the last at byte {last}"
    places = (index.frame(number) for number in range(1, len(index) + 1))
    document = {
        "instance_url": opened.source.ref.url,
        "instance_size": opened.source.size,
        "etag": opened.source.etag,
        "transfer_syntax_uid": header.transfer_syntax_uid,
        "source": source,
        "frames": [[place.start, len(place)] for place in places],
    }
    return json.dumps(document)


def _numbers(text: str, most: int) -> list[int]:
    numbers: dict[int, None] = {}
    for part in text.replace(" ", "").split(","):
        found = _RANGE.fullmatch(part)
        if found is None:
            raise ConfigError(f"--frames {text!r}: {part!r} is neither a number nor a range, as in 1,5-9")
        first, last = int(found[1]), int(found[2] or found[1])
        if not 1 <= first <= last <= most:
            raise ConfigError(f"--frames {text!r}: {part}: the frames are 1 to {most}")
        numbers |= dict.fromkeys(range(first, last + 1))
    return list(numbers)


def _write(opened: OpenedFrames, numbers: list[int], folder: Path, *, decode: bool) -> int:
    """Write the frames in groups; returns the bytes written."""
    total = 0
    with file_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in _files(opened, numbers, decode=decode):
            with replaced_file(folder / name, binary=True, option="--output") as stream:
                stream.write(content)
            total += len(content)
    return total


def _files(opened: OpenedFrames, numbers: list[int], *, decode: bool) -> Iterator[tuple[str, bytes]]:
    suffix = ".npy" if decode else _suffix(opened.header)
    digits = len(str(len(opened.index)))
    for start in range(0, len(numbers), _FRAMES_IN_MEMORY):
        some = numbers[start : start + _FRAMES_IN_MEMORY]
        contents = _as_npy(opened, some) if decode else LOOP.call(opened.raw, some)
        for number, content in zip(some, contents, strict=True):
            yield f"frame-{number:0{digits}}{suffix}", content


def _as_npy(opened: OpenedFrames, numbers: list[int]) -> list[bytes]:
    import numpy as np  # noqa: PLC0415  only this option needs it

    saved = []
    for frame in LOOP.call(opened.decoded, numbers):
        file = BytesIO()
        np.save(file, frame)
        saved.append(file.getvalue())
    return saved


def _suffix(header: Header) -> str:
    uid = header.transfer_syntax_uid
    return (
        next((suffix for uids, suffix in _SUFFIXES if uid in uids), ".bin") if header.encapsulated else ".raw"
    )
