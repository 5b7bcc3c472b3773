"""A dataset in a bucket, on Amazon S3 or a compatible server, or on Google Cloud Storage."""

from harvester.dataset.bucket.address import BucketAddress
from harvester.dataset.bucket.storage import BucketStorage

__all__ = ["BucketAddress", "BucketStorage"]
