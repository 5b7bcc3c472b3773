"""The commands: each parses its arguments, calls one function and prints."""

from harvester.cli.main import application, main

__all__ = ["application", "main"]
