"""A bucket of made-up CT slices, as many as one likes: each header is made when it is asked for."""

from harvester.demo.made.bucket import MadeBucket
from harvester.demo.made.serving import MadeAddress, made_bucket, made_server, serve_made

__all__ = ["MadeAddress", "MadeBucket", "made_bucket", "made_server", "serve_made"]
