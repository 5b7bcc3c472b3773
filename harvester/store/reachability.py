"""Checks whether an object can be listed and read from here, and says why not."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from harvester.errors import HarvesterError
from harvester.model import ByteRange, ObjectRef
from harvester.store.open import DEFAULT_SETTINGS, StoreSettings, open_store
from harvester.store.resilience.retrying_store import RetryPolicy

_ONE_ATTEMPT = RetryPolicy(attempts=1, patience_seconds=0.0)


@dataclass(frozen=True, slots=True)
class Reachability:
    """The result of a check; each field is None if that step succeeded, else one line with the cause."""

    listing: str | None
    reading: str | None


async def check_reachability(
    ref: ObjectRef, settings: StoreSettings = DEFAULT_SETTINGS, *, endpoint: str | None = None
) -> Reachability:
    """List a known object and read its first byte, with one attempt each.

    Args:
        ref: The object, in a bucket or a folder.
        settings: How requests are sent: certificates, credentials, timeout.
        endpoint: Replaces the endpoints of S3 and GCS.
    """
    settings = replace(settings, retry=_ONE_ATTEMPT)
    try:
        async with open_store(settings, endpoint=endpoint) as store:

            async def read() -> None:
                await store.get_range(ref, ByteRange(0, 1))

            async def list_one() -> None:
                listed = store.list_objects(ref)
                await anext(aiter(listed), None)

            return Reachability(listing=await _cause(list_one), reading=await _cause(read))
    except HarvesterError as error:  # the proxies, certificates or the endpoint cannot be used
        return Reachability(str(error), str(error))


async def _cause(step: Callable[[], Awaitable[None]]) -> str | None:
    try:
        await step()
    except HarvesterError as error:
        return str(error)
    return None
