"""A made dataset in the shape of IDC's: its series, what their headers could say, and the crawl of it."""
