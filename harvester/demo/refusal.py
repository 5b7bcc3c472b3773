"""Why the demo bucket does not give what a request asks for, in the terms of S3's error codes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """A status of 304 and above, S3's code for it, a message and further elements of S3's XML."""

    status: int
    code: str
    message: str
    details: tuple[tuple[str, str], ...] = ()
