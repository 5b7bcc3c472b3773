"""Range requests and listings over HTTP, to S3, GCS and plain web servers."""
