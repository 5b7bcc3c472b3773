"""Puts the elements of a data set in ascending order, each tag once (PS3.5 7.1)."""

from harvester.dicom.budget import HeaderBudget
from harvester.dicom.dictionary import SPECIFIC_CHARACTER_SET, name_of
from harvester.dicom.element import Items, RawElement


class OutOfOrderError(Exception):
    """The tags of a data set do not ascend: it is put in order and added again."""


def check_character_set_first(elements: list[RawElement]) -> None:
    """Check that a data set's character set precedes its text, which is decoded by it.

    Raises:
        OutOfOrderError: It does not.
    """
    if next(tag for tag, *_ in elements if tag >= SPECIFIC_CHARACTER_SET) != SPECIFIC_CHARACTER_SET:
        raise OutOfOrderError


def in_order(
    elements: list[RawElement], budget: HeaderBudget, prefix: str = ""
) -> tuple[list[RawElement], list[tuple[str, RawElement]]]:
    """The data set in order, and the elements that a later one with the same tag replaces, as in pydicom.

    Args:
        elements: Those of the data set.
        budget: Counts the paths.
        prefix: The first part of the data set's paths.

    Returns:
        The elements, and the replaced elements with their paths.

    Raises:
        HeaderLimitError: The paths take too much memory.
    """
    replaced: list[tuple[str, RawElement]] = []
    latest: dict[int, RawElement] = {}
    for tag, vr, raw, offset, length in elements:
        value = raw
        if isinstance(raw, Items):
            value = Items()
            path = prefix + name_of(tag)
            for index, item in enumerate(raw):
                ordered, inner = in_order(item, budget, f"{path}[{index}].")
                value.parts.append(ordered)
                replaced += inner
        if tag in latest:
            path = prefix + name_of(tag)
            budget.entry()
            budget.path(path)
            replaced.append((path, latest[tag]))
        latest[tag] = (tag, vr, value, offset, length)
    return [latest[tag] for tag in sorted(latest)], replaced
