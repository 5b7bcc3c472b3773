"""Reports: a dataset and its latest audit as one HTML page."""

from harvester.audits.report.facts import DEFAULT_ATTRIBUTES, Facts, gather
from harvester.audits.report.page import render

__all__ = ["DEFAULT_ATTRIBUTES", "Facts", "gather", "render"]
