"""From idc-index, manifests and lists of addresses to the series that a selection names."""
