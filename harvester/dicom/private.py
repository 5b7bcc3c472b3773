"""The value representations of private elements, which their creators' dictionaries say."""

from harvester.dicom.dictionary import LONGEST_CREATOR, creator_tag, is_private_creator, private_vr
from harvester.dicom.element import RawElement


class PrivateCreators:
    """The private creators of one data set, looked up only where a private VR must be found."""

    __slots__ = ("_names", "_seen")

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        self._seen = 0

    def vr_of(self, tag: int, elements: list[RawElement]) -> str:
        """The VR of a private element (PS3.5 7.8.1); each element is looked at once however often asked."""
        if is_private_creator(tag):
            return "LO"
        for element in elements[self._seen :]:
            is_creator = is_private_creator(element[0]) and isinstance(element[2], bytes)
            if is_creator and element[4] <= LONGEST_CREATOR:
                self._names[element[0]] = element[2].decode("latin-1").rstrip(" \0")
        self._seen = len(elements)
        creator = self._names.get(creator_tag(tag)) if tag & 0xFF00 else None
        return private_vr(tag, creator) if creator else "UN"
