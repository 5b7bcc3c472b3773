"""The path class that universal-pathlib loads, by its entry point, for `harvester://` addresses."""

from fsspec import get_filesystem_class
from upath import UPath

get_filesystem_class("harvester")  # universal-pathlib warns about file systems that are not loaded yet


class ObjectPath(UPath):
    """A path such as `harvester://s3/BUCKET/KEY`."""
