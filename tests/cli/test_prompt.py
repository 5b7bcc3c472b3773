"""The commands of the SQL prompt, as its own and as other clients spell them."""

import pytest

from harvester.cli.prompt import as_command, chosen_format, is_complete


@pytest.mark.parametrize(
    ("typed", "command"),
    [
        ("\\d", ".tables"),
        ("\\dt", ".tables"),
        ("\\d instances", ".columns instances"),
        ("\\q", ".quit"),
        ("quit", ".quit"),
        ("EXIT;", ".quit"),
        (".exit", ".quit"),
        ("help", ".help"),
        ("\\?", ".help"),
        (".QUIT", ".quit"),
        ("SELECT help;", "SELECT help;"),
        (".columns Rows", ".columns Rows"),
    ],
)
def test_commands_of_other_clients_are_known(typed: str, command: str) -> None:
    assert as_command(typed) == command
    assert is_complete(typed)


def test_a_query_goes_on_until_its_semicolon() -> None:
    assert not is_complete("SELECT 1")


def test_the_format_is_one_that_a_terminal_shows(capsys: pytest.CaptureFixture[str]) -> None:
    assert chosen_format(".mode line", "table") == "line"
    assert chosen_format(".mode parquet", "csv") == "csv"
    assert "one of table, line, csv, json" in capsys.readouterr().out
