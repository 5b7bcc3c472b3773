#!/usr/bin/env python
"""Feeds mutated files to the header parser; only a header, a range or harvester's errors may result.

Each case is parsed three times: whole, in pieces with a cache of other headers, and by the compiled core;
all must agree. Headers become columns, and columns Parquet. With atheris installed (the extra `fuzz`) the
search is guided by coverage, otherwise the mutations are random and repeatable by a seed. On a finding the
exit status is 1, and a file has the bytes, as input for this script.
"""

import argparse
import hashlib
import io
import random
import re
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pydicom

CORPUS = Path(__file__).resolve().parents[1] / "../shared/corpus"
GUIDED = "--guided-child" in sys.argv
if GUIDED:
    import atheris

    with atheris.instrument_imports(include=["harvester.dicom"]):
        from harvester.dicom import (
            ElementCache,
            Header,
            HeaderColumns,
            HeaderParser,
            InstanceColumns,
            NeedMore,
            PlainHeaders,
            header_limits,
        )
        from harvester.dicom.element import Items
        from harvester.errors import ObjectError, TruncatedError
else:
    from harvester.dicom import (
        ElementCache,
        Header,
        HeaderColumns,
        HeaderParser,
        InstanceColumns,
        NeedMore,
        PlainHeaders,
        header_limits,
    )
    from harvester.dicom.element import Items
    from harvester.errors import ObjectError, TruncatedError

MAX_HEADER_BYTES = 4 << 20
# So that short inputs have values that are skipped.
header_limits.MAX_KEPT_BINARY, header_limits.MAX_KEPT_VALUE = 256, 4096
LONGEST_SEED = 64 << 10
ROWS_AT_ONCE = 50
NUMBERS = (
    *(0, 1, 2, 4, 7, 8, 9, 0x41, 0xFE, 0xFF),
    *(0x7FFF, 0x8000, 0xFFFE, 0xFFFF, 0x10000, 0x7FFFFFFF, 1 << 31),
)
UNDEFINED = b"\xff\xff\xff\xff"
TOKENS = (
    b"\xfe\xff\x00\xe0" + UNDEFINED,
    b"\xfe\xff\x00\xe0\0\0\0\0",
    b"\xfe\xff\x00\xe0\x08\0\0\0",
    b"\xfe\xff\x0d\xe0\0\0\0\0",
    b"\xfe\xff\xdd\xe0\0\0\0\0",
    b"\x08\0\x05\0CS\x0a\0ISO_IR 192",
    b"\x08\0\x05\0CS\x10\0\\ISO 2022 IR 87 ",
    b"\x09\0\x10\0LO\x04\0ACME",
    b"\x40\0\x75\x02SQ\0\0" + UNDEFINED,
    b"\x08\0\x15\x11UN\0\0" + UNDEFINED,
    b"\xe0\x7f\x10\0OB\0\0" + UNDEFINED,
    b"\x28\0\x03\x01US\x02\0\x01\0",
    b"\x1b$B",
    b"DICM",
)
VRS = (
    *(b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT"),
    *(b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"PN", b"SH", b"SL", b"SQ", b"SS", b"ST"),
    *(b"SV", b"TM", b"UC", b"UI", b"UL", b"UN", b"UR", b"US", b"UT", b"UV", b"XX", b"\0\0"),
)


class FindingError(Exception):
    """The parser returned neither a header nor a range, and raised none of harvester's errors."""


def main() -> int:
    """Parse the command line, search, and say how many cases there were."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--seconds", type=float, default=60, help="how long to search (60)")
    options.add_argument("--cases", type=int, help="how many cases to try, whatever the time")
    options.add_argument("--seed", type=int, default=0, help="of the random mutations (0)")
    options.add_argument("--plain", action="store_true", help="random mutations even where atheris is there")
    options.add_argument("--corpus", type=Path, default=CORPUS, help="more files to begin with")
    options.add_argument("--findings", type=Path, default=Path(tempfile.gettempdir()), help="where they go")
    options.add_argument("--guided-child", action="store_true", help=argparse.SUPPRESS)
    options.add_argument("again", nargs="*", type=Path, help="files that were found: try these only")
    given = options.parse_args()
    if given.guided_child:
        return guided(given)
    if given.again:
        for path in given.again:
            print(path, Trial().run(path.read_bytes()))
        return 0
    if not given.plain and given.cases is None and has_atheris():
        return guided_elsewhere(given)
    return mutated(given)


def has_atheris() -> bool:
    """Whether coverage can guide the search."""
    try:
        import atheris  # noqa: PLC0415  an optional dependency
    except ImportError:
        return False
    return bool(atheris)


@contextmanager
def found() -> Iterator[None]:
    """Turn whatever is raised into a finding."""
    try:
        yield
    except FindingError:
        raise
    except BaseException as error:
        raise FindingError(f"{type(error).__name__}: {error}") from error


class Trial:
    """Runs cases; what earlier ones left in memory and columns is part of what is tried."""

    def __init__(self) -> None:
        self.cache = ElementCache()
        self.columns = HeaderColumns()
        self.plain_headers, self.compiled = PlainHeaders(MAX_HEADER_BYTES), InstanceColumns()
        self.outcomes: Counter[str] = Counter()

    def run(self, data: bytes) -> str:
        """Try one case.

        Raises:
            FindingError: Something happened that must not.
        """
        with found():
            outcome = self._run(data)
            if self.columns.rows >= ROWS_AT_ONCE:
                self._write()
        self.outcomes[outcome] += 1
        return outcome

    def finish(self) -> None:
        """Write what is left.

        Raises:
            FindingError: That failed.
        """
        with found():
            self._write()

    def _run(self, data: bytes) -> str:
        pieces = random.Random(len(data) ^ data[-1] if data else 0)  # noqa: S311  no secret
        whole = parsed(data, len(data), None)
        size_known = pieces.random() < 0.8
        again = parsed(data, pieces.choice((1, 61, 200, 4096)), self.cache, size_known=size_known)
        if not size_known and TruncatedError in (type(whole), type(again)):
            pass  # a length that lies can be known by the object's size alone
        elif isinstance(whole, Header) != isinstance(again, Header):
            raise FindingError(f"whole: {whole!r}, in pieces: {again!r}")
        plain = self.plain_headers.read(data, len(data))
        if plain is not None and not (
            isinstance(plain, Header) and isinstance(whole, Header) and spelt(plain) == spelt(whole)
        ):
            raise FindingError(f"the compiled core: {plain!r}, Python: {whole!r}")
        if isinstance(whole, Header) and isinstance(again, Header):
            if spelt(whole) != spelt(again):
                raise FindingError("in pieces and with a memory another header than whole")
            try:
                self.columns.append(again)
            except ObjectError as error:
                return f"not appended: {type(error).__name__}"
            self.compiled.append(plain if isinstance(plain, Header) else whole)
            return "header" if plain is None else "plain header"
        return type(whole).__name__

    def _write(self) -> None:
        """Write the rows so far as Parquet."""
        rows = self.columns.rows
        table = pa.table(self.columns.finish())
        if table.num_rows != rows or self.columns.rows:
            raise FindingError(f"{rows} headers became {table.num_rows} rows")
        compiled = pa.table(self.compiled.finish())
        compiled.validate(full=True)
        if repr(list(map(without_nulls, compiled.to_pylist()))) != repr(
            list(map(without_nulls, table.to_pylist()))
        ):
            raise FindingError("with the compiled core other rows than without")
        table.validate(full=True)
        pq.write_table(table, io.BytesIO())


def parsed(
    data: bytes, step: int, cache: ElementCache | None, *, size_known: bool = True
) -> Header | ObjectError:
    """What the parser returns at the end, fed `step` bytes at a time."""
    parser = HeaderParser(len(data) if size_known else None, max_header_bytes=MAX_HEADER_BYTES, cache=cache)
    try:
        result = parser.feed(data[:step])
        while isinstance(result, NeedMore):
            if result.start >= len(data):
                if size_known:
                    raise FindingError(f"asks for byte {result.start} of {len(data)}")
                return parser.finish(len(data))
            if not result.start < result.stop or (size_known and result.stop > len(data)):
                raise FindingError(f"asks for {result} of {len(data)} bytes")
            result = parser.feed(data[result.start : result.start + step])
    except ObjectError as error:
        return error
    if parser.headers_read > len(data) // 8 + 1 and not result.deflated:
        raise FindingError(f"{parser.headers_read} headers read in {len(data)} bytes")
    return result


def without_nulls(value: Any) -> Any:
    """A value without the fields that are NULL: which of these columns there are differs."""
    if isinstance(value, dict):
        return {name: without_nulls(one) for name, one in sorted(value.items()) if one is not None}
    return list(map(without_nulls, value)) if isinstance(value, list) else value


def spelt(header: Header) -> tuple[Any, ...]:
    """A header that can be compared, its items made."""
    fields = tuple(
        getattr(header, name) for name in Header.__slots__ if name not in ("elements", "known_values")
    )
    return (*fields, elements_of(header.elements))


def elements_of(elements: list[Any]) -> list[Any]:
    """The elements of a data set, their items made."""
    return [
        (*one[:2], [elements_of(item) for item in one[2]], *one[3:]) if isinstance(one[2], Items) else one
        for one in elements
    ]


def seeds(corpus: Path) -> list[bytes]:
    """The headers of real files, and what is behind each of them for some bytes."""
    found = {}
    for folder in (Path(pydicom.__file__).parent / "data", corpus):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix not in (".py", ".pyc", ".json", ".md", ".csv"):
                with path.open("rb") as file:
                    data = file.read(4 * LONGEST_SEED)
                header = parsed(data, len(data), None, size_known=False)
                end = header.header_bytes + 64 if isinstance(header, Header) and not header.deflated else 0
                cut = data[: end or LONGEST_SEED]
                if len(cut) <= LONGEST_SEED:
                    found[hashlib.sha256(cut).digest()] = cut
    return list(found.values())


def mutations(originals: list[bytes], seed: int) -> Iterator[bytes]:
    """Endlessly many mutated headers; the same for the same seed."""
    pick = random.Random(seed)  # noqa: S311  no secret
    yield from originals
    short = [one for one in originals if len(one) < 8192] or originals
    while True:
        data = bytearray(pick.choice(short if pick.random() < 0.9 else originals))
        for _ in range(pick.choice((1, 1, 1, 2, 3, 8))):
            mutate(data, pick, originals)
        yield bytes(data)


def mutate(data: bytearray, pick: random.Random, originals: list[bytes]) -> None:
    """Change one thing."""
    at = pick.randrange(0 if pick.random() < 0.2 else min(120, len(data)), len(data) + 1)
    length = pick.choice((1, 2, 4, 8, 12, 60, 300))
    kind = pick.randrange(9)
    if kind == 0:
        data[at : at + 1] = bytes([pick.randrange(256)])
    elif kind == 1:
        number = pick.choice((*NUMBERS, len(data) - at, pick.randrange(1 << 16)))
        number_bytes = struct.pack(pick.choice(("<L", "<L", ">L")), number & 0xFFFFFFFF)
        width = pick.choice((2, 4))
        data[at : at + width] = number_bytes[:width]
    elif kind == 2:
        del data[at : at + length]
    elif kind == 3:
        data[at:at] = data[at : at + length] * pick.choice((1, 1, 6))
    elif kind == 4:
        other = pick.choice(originals)
        start = pick.randrange(len(other) + 1)
        data[at : at + pick.choice((0, length))] = other[start : start + length]
    elif kind == 5:
        data[at : at + pick.choice((0, 8))] = pick.choice(TOKENS)
    elif kind == 6:
        found = [match.start() for match in re.finditer(rb"[A-Z][A-Z](?=[^A-Za-z])", bytes(data[128:20000]))]
        if found:
            place = 128 + pick.choice(found)
            data[place : place + 2] = pick.choice(VRS)
    elif kind == 7:
        del data[at:]
    else:
        data[at : at + length] = pick.randbytes(length)


def mutated(given: argparse.Namespace) -> int:
    """Try random mutations until the time is over or the cases are done."""
    trial, began, cases = Trial(), time.monotonic(), 0
    held: list[bytes] = []
    try:
        for data in mutations(seeds(given.corpus), given.seed):
            over = time.monotonic() - began >= given.seconds if given.cases is None else cases >= given.cases
            if over:
                break
            cases += 1
            held = [*held, data] if trial.columns.rows else [data]
            trial.run(data)
        trial.finish()
    except FindingError as finding:
        return report(given.findings, held, finding)
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in trial.outcomes.most_common())
    print(f"{cases} cases in {time.monotonic() - began:.0f} s, no finding ({outcomes})")
    return 0


def report(folder: Path, held: list[bytes], finding: FindingError) -> int:
    """Save the bytes that did it: of the rows that were written together, the one that fails alone."""
    guilty = held
    for data in reversed(held):
        trial = Trial()
        try:
            trial.run(data)
            trial.finish()
        except FindingError:
            guilty = [data]
            break
    folder.mkdir(parents=True, exist_ok=True)
    print(f"finding: {finding}", file=sys.stderr)
    for data in guilty:
        path = folder / f"finding-{hashlib.sha256(data).hexdigest()[:16]}"
        path.write_bytes(data)
        print(f"  its bytes: {path}", file=sys.stderr)
    return 1


def guided_elsewhere(given: argparse.Namespace) -> int:
    """Let atheris search in a process of its own, because it ends the process it runs in."""
    with tempfile.TemporaryDirectory() as folder:
        for index, data in enumerate(seeds(given.corpus)):
            (Path(folder) / f"seed-{index}").write_bytes(data)
        given.findings.mkdir(parents=True, exist_ok=True)
        libfuzzer = [
            f"-max_total_time={int(given.seconds)}",
            f"-seed={given.seed + 1}",
            f"-artifact_prefix={given.findings}/finding-",
            f"-max_len={LONGEST_SEED}",
            "-rss_limit_mb=4096",
            "-timeout=60",
        ]
        command = [sys.executable, __file__, "--guided-child", "--", *libfuzzer, folder]
        done = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True)
    counted = re.search(r"Done (\d+) runs in (\d+) second", done.stderr)
    if done.returncode or counted is None:
        print(done.stderr[-4000:], file=sys.stderr)
        return 1
    print(f"{counted[1]} cases in {counted[2]} s, guided by coverage, no finding")
    return 0


def guided(given: argparse.Namespace) -> int:
    """Run atheris; it never returns."""
    trial = Trial()

    def one(data: bytes) -> None:
        trial.run(data)

    atheris.Setup([sys.argv[0], *map(str, given.again)], one)  # libFuzzer reads the rest
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
