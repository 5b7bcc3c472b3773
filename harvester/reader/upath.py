"""The path class that universal-pathlib loads, by its entry point, for `harvester://` addresses."""

from upath import UPath


class ObjectPath(UPath):
    """A path such as `harvester://s3/BUCKET/KEY`."""
