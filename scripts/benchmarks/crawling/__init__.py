"""Modules of the crawl benchmark: synthetic objects, servers, clients, and the parts."""
