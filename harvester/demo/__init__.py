"""A public bucket on this machine: DICOM files served over HTTP as IDC's buckets serve theirs."""

from harvester.demo.catalog import write_catalog
from harvester.demo.layout import BUCKET, DemoInstance, DemoLayout, DemoSeries, lay_out
from harvester.demo.server import CATALOG_BUCKET, CATALOG_KEY, DemoAddress, demo_bucket, serve_demo

__all__ = [
    "BUCKET",
    "CATALOG_BUCKET",
    "CATALOG_KEY",
    "DemoAddress",
    "DemoInstance",
    "DemoLayout",
    "DemoSeries",
    "demo_bucket",
    "lay_out",
    "serve_demo",
    "write_catalog",
]
