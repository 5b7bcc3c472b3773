"""The command line: one module per command, which parses arguments, calls one function and prints."""

from harvester.cli.main import application, main

__all__ = ["application", "main"]
