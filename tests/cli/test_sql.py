"""`harvester sql`: queries from files and pipes, and the prompt as a person at a terminal has it."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pytest
from harvester_program import COMMAND, ended, run, start
from hex_names import hex_name
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from harvester.cli.prompt import NameCompleter, Names
from harvester.dataset import Dataset, Partition
from harvester.query import open_dataset

# Counts forever, as far as a test is concerned, in memory that does not grow.
ENDLESS = "SELECT count(*) FROM range(1000000000000) a(x) WHERE hash(x) % 7 = 9"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\x1b\][^\x07]*\x07|[\r\x00\x07]")
PATIENCE = 300


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    dataset = Dataset.create(tmp_path_factory.mktemp("data") / "ds")
    writer = dataset.shard_writer(hex_name("crawl"), hex_name("s"))
    rows = {
        "SOPInstanceUID": [f"1.{n}" for n in range(7)],
        "SeriesInstanceUID": ["1"] * 7,
        "SliceThickness": [1.25] * 7,
        "ImageType": [["ORIGINAL"]] * 7,
    }
    writer.write_instances(pa.table(rows), Partition("nlst", "CT"))
    writer.commit(["1"], requests=1, bytes_fetched=1, seconds=1, versions={})
    return dataset.location


def test_a_query_is_read_from_a_file(dataset: str, tmp_path: Path) -> None:
    file = tmp_path / "query.sql"
    file.write_text("-- how many\nSELECT count(*) AS n,\n  'ä' AS a FROM instances;\n", encoding="utf-8")
    asked = run("sql", "-d", dataset, "-f", file, "--format", "csv")
    assert (asked.status, asked.stdout) == (0, "n,a\n7,ä\n")


@pytest.mark.parametrize(
    ("arguments", "begin"),
    [
        (("-o", "{tmp}/a.parquet"), b"PAR1"),
        (("-o", "{tmp}/a.csv"), b"n\n7"),
        (("-o", "{tmp}/a.json"), b'{"n": 7}'),
        (("-o", "{tmp}/a.md"), b"n\n"),
        (("-o", "{tmp}/a.parquet", "--format", "csv"), b"n\n7"),
    ],
)
def test_the_suffix_of_a_file_is_its_format(
    dataset: str, tmp_path: Path, arguments: tuple[str, ...], begin: bytes
) -> None:
    output = (argument.format(tmp=tmp_path) for argument in arguments)
    assert run("sql", "-d", dataset, "SELECT count(*) AS n FROM instances", *output).status == 0
    (written,) = tmp_path.iterdir()
    assert written.read_bytes().startswith(begin)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("-f", "{tmp}/none.sql"), "--file: .*none.sql: can't be read"),
        (("-f", "{tmp}"), "--file: .*: can't be read"),
        (("-f", "{tmp}/query.sql", "SELECT 2"), "give a query or --file, not both"),
        (("SELECT 1", "-o", "{tmp}/none/x.csv"), "--output: .*x.csv: No such file"),
    ],
)
def test_a_query_from_nowhere_or_twice_is_one_line_and_status_2(
    dataset: str, tmp_path: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    (tmp_path / "query.sql").write_text("SELECT 1")
    asked = run("sql", "-d", dataset, *(argument.format(tmp=tmp_path) for argument in arguments))
    assert asked.status == 2
    assert asked.stdout == ""
    assert re.fullmatch(f"harvester: {complaint}.*\n", asked.stderr)


@pytest.mark.parametrize(
    ("piped", "status", "answer"), [("SELECT count(*) AS n\nFROM instances", 0, "n\n7\n"), ("", 2, "")]
)
def test_a_query_is_read_from_a_pipe(dataset: str, piped: str, status: int, answer: str) -> None:
    done = subprocess.run(
        [*COMMAND, "sql", "-d", dataset, "--format", "csv"],
        input=piped,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stdout) == (status, answer)
    assert bool(done.stderr) == bool(status)


def test_a_table_in_a_pipe_has_all_columns(dataset: str) -> None:
    url = "s3://idc-open-data/" + "/".join(["7923ccbe-015e-529b-8fad-1414a07c4e16"] * 3) + ".dcm"
    columns = ", ".join(f"{number} AS column_{number}" for number in range(100)) + f", '{url}' AS url"
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    asked = [*COMMAND, "sql", "-d", dataset, f"SELECT {columns}"]
    done = subprocess.run(
        asked,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    heading, _, row, summary = done.stdout.splitlines()
    assert heading.split() == [*(f"column_{number}" for number in range(100)), "url"]
    assert row.split() == [*map(str, range(100)), url]
    assert summary == "1 row"


@pytest.mark.parametrize("file", ["none/x.csv", ".", "cohort.s5cmd/x.parquet"])
def test_a_file_that_cannot_be_written_is_refused_before_the_query_runs(
    dataset: str, tmp_path: Path, file: str
) -> None:
    (tmp_path / "cohort.s5cmd").touch()
    asked = run("sql", "-d", dataset, ENDLESS, "-o", tmp_path / file)
    assert asked.status == 2
    assert re.fullmatch("harvester: --output: .*\n", asked.stderr)


def test_a_query_that_is_interrupted_ends_with_status_130(dataset: str) -> None:
    process = start("-v", "sql", "-d", dataset, ENDLESS)
    wait_for_work(process.pid)
    process.send_signal(signal.SIGINT)
    interrupted = ended(process)
    assert (interrupted.status, interrupted.stdout) == (130, "")
    assert "Traceback" not in interrupted.stderr


def wait_for_work(process: int) -> None:
    """Return when a query runs: threads beside the first have worked, or more than it takes to start."""
    deadline = time.monotonic() + PATIENCE
    while True:
        threads = {int(path.name): path for path in Path(f"/proc/{process}/task").iterdir()}
        main = seconds_of(threads.pop(process))
        if sum(map(seconds_of, threads.values())) > 0.5 or main > 6:
            return
        assert time.monotonic() < deadline
        select.select([], [], [], 0.05)


def seconds_of(thread: Path) -> float:
    """The CPU time of a thread; none once it has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        fields = (thread / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0


class Terminal:
    """A program at a terminal of 100 columns; what it shows, without colours and movements."""

    def __init__(self, *arguments: str, state: Path) -> None:
        self._place, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  Ctrl-C becomes a signal
            env={**os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", "XDG_STATE_HOME": str(state)},
        )
        os.close(terminal)
        self._shown = ""

    def type(self, keys: str) -> None:
        os.write(self._place, keys.encode())

    def ask(self, keys: str, wanted: str, enter: str = "\r") -> str:
        """Type, and return what is shown until the next prompt is there."""
        self.type(keys + enter)
        return self.until(wanted) + self.until("harvester>")

    def until(self, wanted: str) -> str:
        """Read until something is shown; return what was shown before it, and it."""
        deadline = time.monotonic() + PATIENCE
        while (found := re.search(wanted, self._shown, re.DOTALL)) is None:
            remaining = deadline - time.monotonic()
            ready, _, _ = select.select([self._place], [], [], max(0, remaining))
            assert ready, f"{wanted!r} is not in {self._shown!r}"
            self._shown += ESCAPES.sub("", os.read(self._place, 65536).decode("utf-8", "replace"))
        seen, self._shown = self._shown[: found.end()], self._shown[found.end() :]
        return seen

    def status(self) -> int:
        """The exit status, once the program has ended."""
        return self.process.wait(timeout=PATIENCE)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._place)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@contextmanager
def terminal_at(dataset: str, state: Path) -> Iterator[Terminal]:
    """The program, at its prompt."""
    terminal = Terminal("sql", "-d", dataset, state=state)
    try:
        terminal.until("tables; .help")
        terminal.until("harvester>")
        yield terminal
    finally:
        terminal.close()


@pytest.fixture
def prompt(dataset: str, state: Path) -> Iterator[Terminal]:
    with terminal_at(dataset, state) as terminal:
        yield terminal


def test_the_prompt_answers_queries_of_several_lines(prompt: Terminal) -> None:
    prompt.type("SELECT count(*) + 35 AS n\r")
    prompt.until(r"\.\.\.")
    prompt.ask("FROM instances;", "42\n.*1 row")
    prompt.type(".quit\r")
    assert prompt.status() == 0


def test_the_prompt_says_what_is_wrong_and_goes_on(prompt: Terminal) -> None:
    prompt.ask("SELECT SliceThicknes FROM instances;", "did you mean SliceThickness")
    prompt.ask("DROP VIEW instances;", "a dataset is only read")
    prompt.ask(".nonsense", r"\.nonsense: unknown command")
    prompt.ask("SELECT 6 * 7 AS n;", "42\n")
    prompt.type("\x04")  # Ctrl-D
    assert prompt.status() == 0


def test_tab_completes_columns_tables_and_commands(prompt: Terminal) -> None:
    prompt.type("SELECT 5 + min(SliceThi\t")
    prompt.until("ckness")
    prompt.ask(") AS n FROM instances;", r"6\.25\n")
    prompt.type(".colu\t")
    prompt.until("mns")
    prompt.ask(" slice", "SliceThickness +DOUBLE")


def test_names_are_completed_in_any_case_of_letters(dataset: str) -> None:
    def completed(text: str) -> set[str]:
        return {one.text for one in completer.get_completions(Document(text), CompleteEvent())}

    with open_dataset(dataset) as connection:
        completer = NameCompleter(Names(connection))
        assert completed("SELECT min(slicethi") == {"SliceThickness"}
        assert completed("SELECT count(*) FROM INSTANCE") >= {"instances", "instance_size"}
        assert completed("sel") == {"SELECT"}
        assert completed(".t") == {".tables"}
        assert completed("SELECT ") == set()
        assert completed("nosuchthing") == set()


def test_tables_and_columns_are_listed(prompt: Terminal) -> None:
    listed = prompt.ask(".tables", "studies\n")
    assert {"instances", "frames", "failures", "series"} <= set(listed.split())
    prompt.ask(".columns slice", r"SliceThickness +DOUBLE")
    prompt.ask(".columns image?ype", r"ImageType +VARCHAR\[\]")
    assert "SliceThickness" not in prompt.ask(".columns failures", r"reason +VARCHAR")
    prompt.ask(".columns nosuchthing", "no column of instances matches nosuchthing")


def test_ctrl_c_stops_a_query_and_returns_to_the_prompt(prompt: Terminal) -> None:
    prompt.type(f"{ENDLESS};\r")
    prompt.until("query .*0:00:0[1-9]")  # the bar, which also shows that it runs
    prompt.ask("\x03", "stopped", enter="")
    prompt.ask("SELECT count(*) + 35 AS n FROM instances;", "42\n")


def test_ctrl_c_at_the_prompt_drops_what_was_typed(prompt: Terminal) -> None:
    prompt.type("SELECT nonsense")
    prompt.until("nonsense")
    prompt.ask("\x03", "", enter="")
    prompt.ask("SELECT 6 * 7 AS n;", "42\n")


def test_queries_are_remembered_from_one_session_to_the_next(dataset: str, state: Path) -> None:
    for keys in ("SELECT 40 + 2 AS n;", "\x1b[A"):  # the second time: cursor up
        with terminal_at(dataset, state) as terminal:
            terminal.ask(keys, "42\n.*1 row")
            terminal.type("\x04")
            assert terminal.status() == 0
    history = state / "harvester" / "sql_history"
    assert history.read_text().count("+SELECT 40 + 2 AS n;") == 1
    assert history.stat().st_mode & 0o077 == 0


def test_a_state_folder_that_cannot_be_written_costs_only_the_history(dataset: str, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with terminal_at(dataset, tmp_path / "state") as terminal:
        terminal.ask("SELECT 6 * 7 AS n;", "42\n")


def test_the_prompt_writes_no_files(dataset: str, state: Path, tmp_path: Path) -> None:
    terminal = Terminal("sql", "-d", dataset, "-o", str(tmp_path / "x.csv"), state=state)
    try:
        terminal.until("give a query to write a file")
        assert terminal.status() == 2
    finally:
        terminal.close()
