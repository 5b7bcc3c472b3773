"""The path of universal-pathlib for this package's file system, which it loads by the entry point."""

from upath import UPath


class ObjectPath(UPath):
    """A path such as `harvester://s3/BUCKET/KEY`."""
