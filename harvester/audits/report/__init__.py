"""Reports: a dataset and its last audit as one HTML page, for people who do not read SQL."""

from harvester.audits.report.facts import DEFAULT_ATTRIBUTES, Facts, gather
from harvester.audits.report.page import render

__all__ = ["DEFAULT_ATTRIBUTES", "Facts", "gather", "render"]
