"""The errors that harvester raises on purpose, grouped by their cause: user, object or server.

::

    HarvesterError
    ├── UserError                wrong input from the user: exit status 2
    │   ├── ConfigError            a configuration file or a command line
    │   ├── SelectionError         a selection that matches nothing, or names something that does not exist
    │   ├── DatasetError           a dataset that is missing or not one of harvester's
    │   │   └── DatasetBusyError     ... or that another process is writing to: try again later
    │   └── QueryError             an SQL text that cannot be run
    ├── WorkerError              a worker process cannot be started, or ends on any task
    │   └── WorkerDiedError        a worker process died during a shard, which is harvested again
    └── HarvestError             an object could not be harvested: a row in `failures`
        ├── ObjectError            the object is at fault: the same bytes fail again
        │   ├── NotDicomError        the bytes are not DICOM
        │   ├── TruncatedError       the object ends inside its header
        │   ├── MalformedError       the header breaks the encoding rules
        │   ├── HeaderLimitError     the header exceeds a limit (size, depth, number of elements)
        │   ├── FrameIndexError      the positions of its frames are missing or wrong
        │   └── FrameDecodeError     a frame cannot be decoded
        └── StoreError (OSError) the server or the network is at fault
            ├── NotFoundError (FileNotFoundError)      404
            ├── AccessDeniedError (PermissionError)    401, 403
            ├── RequestRejectedError                   another 4xx
            ├── ThrottledError                         429, 503 SlowDown           (transient)
            ├── ServerFaultError                       another 5xx                 (transient)
            ├── ConnectionFailedError (ConnectionError) refused, reset, broken     (transient)
            │   ├── PermanentConnectionError             ... for a cause that is not temporary
            │   └── EndpointDownError                    ... for all requests, until the maximum wait
            │       └── EndpointUnreachableError (UserError) ... and none ever succeeded: exit status 2
            ├── TimedOutError (TimeoutError)           no response in time         (transient)
            ├── BadResponseError                       breaks HTTP's range rules   (transient)
            ├── ObjectChangedError                     its ETag differs from before
            └── ListingError                           a listing that cannot be trusted

A name in parentheses is a further base class.
"""

import errno
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Final, TypeVar

_SHELL: Final = "interactiveshell.py"  # IPython's file that runs a cell
_MAX_LINES: Final = 3


class HarvesterError(Exception):
    """The base class: catch it to catch everything that harvester raises on purpose."""

    def _render_traceback_(self) -> list[str]:
        """What IPython prints, in place of its traceback: the caller's lines, the causes and the message."""
        package = str(Path(__file__).parent)
        frames = traceback.extract_tb(self.__traceback__)
        ours = (place for place, frame in enumerate(frames) if frame.filename.startswith(package))
        callers = [one for one in frames[: next(ours, None)] if Path(one.filename).name != _SHELL]
        lines = [f"{one.name}, line {one.lineno}: {one.line}" for one in callers[-_MAX_LINES:]]
        cause = self.__cause__
        while cause is not None and len(lines) < 2 * _MAX_LINES:
            if str(cause) not in str(self):
                lines.append(f"cause: {type(cause).__name__}: {' '.join(str(cause).split())[:300]}")
            cause = cause.__cause__
        return [*lines, f"{type(self).__name__}: {self}"]


class UserError(HarvesterError):
    """The user's input is wrong; the message is one line with the cause and the remedy."""


class ConfigError(UserError):
    """A configuration file or a command line that cannot be used."""


class SelectionError(UserError):
    """A selection that matches nothing, or that names a collection or a column that does not exist."""


class DatasetError(UserError):
    """A dataset that is missing, locked by another crawl, or not a dataset of harvester."""


class DatasetBusyError(DatasetError):
    """Another process is writing to the dataset; the same call can succeed later."""


class QueryError(UserError):
    """An SQL text that cannot be translated or run."""


class WorkerError(HarvesterError):
    """A worker process cannot be started, or ends on any task."""


class WorkerDiedError(WorkerError):
    """A worker process died during a shard: killed from outside, out of memory, or because of its input."""


class HarvestError(HarvesterError):
    """One object could not be harvested; it becomes a row in `failures`.

    Args:
        message: What is wrong, in words.
        url: The object, if known.
        offset: The byte offset of the error in the object, if known.
        status: The HTTP status, if there is one.
    """

    reason: ClassVar[str] = "unknown"
    transient: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        url: str | None = None,
        offset: int | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.url = url
        self.offset = offset
        self.status = status

    def __str__(self) -> str:
        where = "" if self.offset is None else f" (at byte {self.offset})"
        culprit = "" if self.url is None else f" [{self.url}]"
        return f"{self.message}{where}{culprit}"


class ObjectError(HarvestError):
    """The object is at fault: reading the same bytes fails again."""


class NotDicomError(ObjectError):
    """The bytes are not a DICOM object."""

    reason = "not_dicom"


class TruncatedError(ObjectError):
    """The object ends before its header does."""

    reason = "truncated"


class MalformedError(ObjectError):
    """The header breaks the encoding rules of PS3.5."""

    reason = "malformed"


class HeaderLimitError(ObjectError):
    """The header exceeds a limit on the memory or time of one object."""

    reason = "header_limit"


class FrameIndexError(ObjectError):
    """The positions of the object's frames are missing or wrong."""

    reason = "frame_index"


class FrameDecodeError(ObjectError):
    """A frame cannot be decoded: it is damaged, or no decoder for its compression is installed."""

    reason = "frame_decode"


class StoreError(HarvestError, OSError):
    """The server or the network failed; programs that read files may catch it as an OSError.

    Args:
        message: What is wrong, in one line.
        url: The object or listing.
        offset: The first byte of the requested range, for the records of a crawl.
        status: The HTTP status, if there is one.
        retry_after: Seconds that the server asked to wait.

    Attributes:
        errno: The closest number of the module `errno`.
        attempts: Number of attempts before this error was raised.
        requests: HTTP requests of all attempts, redirects included.
        bytes_fetched: Bytes of all bodies that were read and discarded.
    """

    errno = errno.EIO

    def __init__(
        self,
        message: str,
        *,
        url: str | None = None,
        offset: int | None = None,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, url=url, offset=offset, status=status)
        self.retry_after = retry_after
        self.attempts = 1
        self.requests = 1
        self.bytes_fetched = 0

    def __str__(self) -> str:
        return self.message if self.url is None else f"{self.message} [{self.url}]"

    # The setters ignore their value: libraries that pickle errors set what they read from an OSError.
    @property
    def strerror(self) -> str:
        """The message, as of any OSError."""
        return self.message

    @strerror.setter
    def strerror(self, _: str) -> None: ...

    @property
    def filename(self) -> str | None:
        """The URL, as of any OSError."""
        return self.url

    @filename.setter
    def filename(self, _: str | None) -> None: ...


class NotFoundError(StoreError, FileNotFoundError):
    """There is no such object or bucket."""

    reason = "not_found"
    errno = errno.ENOENT


class AccessDeniedError(StoreError, PermissionError):
    """The bucket or the object is not public."""

    reason = "access_denied"
    errno = errno.EACCES


class RequestRejectedError(StoreError):
    """The server refuses the request itself."""

    reason = "rejected"
    errno = errno.EINVAL


class ThrottledError(StoreError):
    """The server asks for fewer requests."""

    reason = "throttled"
    errno = errno.EBUSY
    transient = True


class ServerFaultError(StoreError):
    """The server failed."""

    reason = "server_error"
    transient = True


class ConnectionFailedError(StoreError, ConnectionError):
    """The connection could not be made, or broke."""

    reason = "connection"
    errno = errno.ECONNABORTED
    transient = True


class PermanentConnectionError(ConnectionFailedError):
    """No connection can be made, and the cause is not temporary: an unknown host, a certificate."""


class EndpointDownError(ConnectionFailedError):
    """All requests to an endpoint failed during the maximum wait of a call."""

    transient = False


class EndpointUnreachableError(EndpointDownError, UserError):
    """No request to any endpoint has ever succeeded: the network or the configuration is wrong."""


class TimedOutError(StoreError, TimeoutError):
    """No response, or no whole response, in time."""

    reason = "timeout"
    errno = errno.ETIMEDOUT
    transient = True


class BadResponseError(StoreError):
    """The response is not the requested range: another range, a short or an encoded body."""

    reason = "bad_answer"
    transient = True


class ObjectChangedError(StoreError):
    """The object was replaced after its first bytes were read."""

    reason = "object_changed"
    errno = errno.ESTALE


class ListingError(StoreError):
    """A listing that failed or cannot be trusted: an error is not an empty series."""

    reason = "listing"


E = TypeVar("E", bound=HarvesterError)


@contextmanager
def ungrouped() -> Iterator[None]:
    """Raise the single error of nested task groups without the exception groups around it.

    If several tasks failed at once, the first error is raised; a group that contains a bug stays as it is.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        errors = list(_leaves(group))
        if len(errors) == 1 or all(isinstance(error, HarvesterError) for error in errors):
            raise errors[0] from errors[0].__cause__
        raise


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def without_frames(error: E) -> E:
    """The error without its traceback of event loops, threads and queries, also in its causes."""
    one: BaseException | None = error
    while one is not None:
        one.__traceback__ = None
        one.__context__ = None  # IPython prints all of it if it has an exception group
        one.__suppress_context__ = True
        one = one.__cause__
    return error
