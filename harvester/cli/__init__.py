"""The commands: each parses its arguments, calls one function and prints."""

from harvester.cli.main import app, main

__all__ = ["app", "main"]
