"""What an opened file is told by in another process, and how it is opened there as the same."""

from dataclasses import dataclass, field

from harvester.dicom.frames import FrameIndex
from harvester.errors import ConfigError, ObjectChangedError
from harvester.model import ByteRange, ObjectRef
from harvester.reader.dataset_hints import ObjectHints, header_window
from harvester.reader.event_loop import LOOP
from harvester.reader.file import ObjectFile, Origin
from harvester.reader.offset_table import TableKind, VirtualTable
from harvester.reader.open import opened_view
from harvester.reader.view import ObjectView
from harvester.store.base import Store


@dataclass(frozen=True, slots=True)
class PickledFile:
    """An opened file, as it is pickled: no byte of the object, but what it was and how it was shown.

    Attributes:
        ref: The object.
        endpoint: What replaces the cloud's address.
        size: The object's, in bytes.
        etag: What it was pinned to.
        header_window: How many bytes its header takes.
        table: Kind, number of frames and own place of the offset table it was shown with.
        index: DatasetLike its frames lie, as far as that was known: nobody has to scan it again.
        position: DatasetLike the next read starts.
    """

    ref: ObjectRef
    endpoint: str | None
    size: int
    etag: str | None
    header_window: int | None
    table: tuple[TableKind, int, ByteRange | None] | None
    index: FrameIndex | None = field(repr=False)
    position: int


def ticket_of(file: ObjectFile) -> PickledFile:
    """What a file is told by.

    Raises:
        ConfigError: It was opened with a store of its own, which no other process has.
    """
    source, table = file.view.source, file.view.table
    if file.origin is None or file.origin.store is not None:
        raise ConfigError(
            f"{file.name}: opened with a store of its own, it cannot go to another process; open it there"
        )
    header = source.header
    return PickledFile(
        source.ref,
        file.origin.endpoint,
        source.size,
        source.etag,
        None if header is None else header_window(header),
        None if table is None else (table.kind, table.frames, table.own),
        file.view.index,
        file.tell(),
    )


def reopened(ticket: PickledFile) -> ObjectFile:
    """Open the file that a ticket tells of, as it was.

    Raises:
        ObjectChangedError: The object was replaced since.
        StoreError: It cannot be read.
    """
    view = LOOP.call(_reopened_view, LOOP.store(ticket.endpoint), ticket)
    file = ObjectFile(view, LOOP, Origin(ticket.endpoint))
    file.seek(ticket.position)
    return file


async def _reopened_view(store: Store, ticket: PickledFile) -> ObjectView:
    known = ObjectHints(ticket.etag, ticket.header_window, ticket.index)
    view = await opened_view(store, ticket.ref, known, "none")
    source = view.source
    if (source.etag, source.size) != (ticket.etag, ticket.size):
        raise ObjectChangedError(
            "the object was replaced since the file was opened that was sent here", url=ticket.ref.url
        )
    if ticket.table is None or source.header is None:
        return ObjectView(source, None, ticket.index)
    kind, frames, own = ticket.table
    return ObjectView(source, VirtualTable(kind, frames, source.header, own), ticket.index)
