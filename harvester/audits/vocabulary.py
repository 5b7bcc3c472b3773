"""The words of an audit's configuration: severities, keywords of attributes, and UIDs."""

from functools import lru_cache
from typing import Final, Literal, get_args

from pydicom._uid_dict import UID_dictionary

from harvester.dicom.dictionary import BINARY_VRS, Attribute, attributes_by_keyword
from harvester.messages import did_you_mean

Severity = Literal["info", "warning", "error"]
SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity)


def attribute_of(name: str) -> Attribute:
    """The attribute of a keyword, if its values have a column.

    Raises:
        ValueError: No attribute has this keyword, or its values are binary.
    """
    known = attributes_by_keyword()
    found = known.get(name.lower())
    if found is None:
        keywords = [attribute.keyword for attribute in known.values()]
        raise ValueError(f"{name!r} is not the keyword of an attribute{did_you_mean(name, keywords)}")
    if found.vr in BINARY_VRS or " or OW" in found.vr or "OB or" in found.vr:
        raise ValueError(f"{found.keyword} ({found.vr}) has binary values, and so no column")
    return found


def uid_of(text: str, kind: str) -> str:
    """Read a UID, or the keyword of one.

    Args:
        text: `1.2.840.10008.5.1.4.1.1.2` or `CTImageStorage`.
        kind: `SOP Class` or `Transfer Syntax`.

    Raises:
        ValueError: The text is neither.
    """
    if text and all(part.isdigit() for part in text.split(".")):
        return text
    known = uids(kind)
    if text not in known:
        raise ValueError(f"{text!r} is neither a UID nor the keyword of a {kind}{did_you_mean(text, known)}")
    return known[text]


@lru_cache
def uids(kind: str, *, retired: bool = True) -> dict[str, str]:
    """The UIDs of PS3.6 annex A of one kind, by keyword."""
    return {
        keyword: uid
        for uid, (_name, what, _info, gone, keyword) in UID_dictionary.items()
        if what == kind and keyword and (retired or not gone)
    }


def uid_name(uid: str) -> str:
    """The name of a UID in PS3.6 annex A; the UID itself if it is not registered."""
    known = UID_dictionary.get(uid)
    return uid if known is None else known[0].partition(":")[0]
