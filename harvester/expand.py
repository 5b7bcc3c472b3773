"""From series to their objects, by listings that are held against the catalog's counts."""
