"""Addresses that may hold a secret, which their text hides: in messages, logs, records and listings."""

from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from harvester.messages import without_secrets

_HIDDEN: Final = "..."


class Address(str):
    """An address whose text (`str`, `repr`, f-strings, JSON) lacks user-info, query and fragment.

    It compares and splits as the whole address does; `whole` is for the request itself.
    """

    __slots__ = ()

    @property
    def whole(self) -> str:
        """The address with its secrets."""
        return str.__str__(self)

    def __str__(self) -> str:
        """The address without its secrets."""
        whole = self.whole
        if "://" in whole:
            address, hash_sign, _ = whole.partition("#")
            return without_secrets(address) + (f"#{_HIDDEN}" if hash_sign else "")
        user, _, host = whole.rpartition("@")  # a proxy can be written without its scheme
        return f"{_HIDDEN}@{host}" if ":" in user and "/" not in user else whole

    def __repr__(self) -> str:
        return repr(str(self))

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            cls,
            core_schema.str_schema(strict=True),
            serialization=core_schema.plain_serializer_function_ser_schema(str),
        )


class WebhookAddress(Address):
    """An address whose path is a secret, too, as chat services make them."""

    __slots__ = ()

    def __str__(self) -> str:
        """Scheme and host."""
        parts = urlsplit(self.whole)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{_HIDDEN}"


class CommandWord(Address):
    """A program or an argument of a command, which can be a token."""

    __slots__ = ()

    def __str__(self) -> str:
        """Nothing of it."""
        return _HIDDEN
