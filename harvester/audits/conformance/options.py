"""What is checked, from names as they are typed."""

import re
from collections.abc import Collection, Iterable
from typing import Final

from harvester.audits.conformance.checks import Selection
from harvester.audits.conformance.plans import ConformanceOptions
from harvester.audits.conformance.standard import tables
from harvester.audits.vocabulary import SEVERITIES, uid_of
from harvester.dicom.dictionary import attributes_by_keyword
from harvester.errors import ConfigError
from harvester.messages import did_you_mean

_TYPES: Final = ("1", "1C", "2", "2C", "3")
_IGNORED: Final = re.compile(r"(?:(\w+)|(\([0-9A-F]{4},[0-9A-F]{4}\)))(?:@(.+))?", re.IGNORECASE)


def conformance_options(  # noqa: PLR0913  one for each option
    *,
    sop_classes: Iterable[str] = (),
    iods: Iterable[str] = (),
    types: Iterable[str] = (),
    modules: Iterable[str] = (),
    severity: str = "info",
    ignore: Iterable[str] = (),
    private: bool = True,
    extended: bool = True,
    where: str = "true",
) -> ConformanceOptions:
    """What is checked.

    Args:
        sop_classes: UIDs or keywords of SOP classes.
        iods: Names of IODs such as `ct-image`.
        types: `1`, `1C`, `2`, `2C` or `3`.
        modules: Names of modules such as `general-series`.
        severity: The lowest severity that is reported.
        ignore: Attributes that are left out: a keyword or a tag `(gggg,eeee)`, optionally `@MODULE`.
        private: Whether private SOP classes are reported as unknown.
        extended: Whether attributes that the IOD does not have are reported.
        where: An SQL condition on `instances`.

    Raises:
        ConfigError: A value is not valid.
    """
    if severity not in SEVERITIES:
        raise ConfigError(f"severity: {severity!r} is not valid{did_you_mean(severity, SEVERITIES)}")
    try:
        classes = tuple(uid_of(one, "SOP Class") for one in sop_classes)
    except ValueError as error:
        raise ConfigError(f"sop_class: {error}") from None
    selection = Selection(
        iods=_known("iod", iods, tables()["iods"]),
        types=_known("type", types, _TYPES),
        modules=_known("module", modules, tables()["modules"]),
        severities=frozenset(SEVERITIES[SEVERITIES.index(severity) :]),
        ignore=frozenset(map(_ignored, _several(ignore))),
        extended=extended,
    )
    return ConformanceOptions(classes, selection, private, where)


def _several(names: Iterable[str]) -> tuple[str, ...]:
    """Names, of which one alone can be a text."""
    return (names,) if isinstance(names, str) else tuple(names)


def _known(option: str, names: Iterable[str], valid: Collection[str]) -> frozenset[str]:
    names = _several(names)
    for name in names:
        if name not in valid:
            raise ConfigError(f"{option}: {name!r} is not in PS3.3{did_you_mean(name, valid)}")
    return frozenset(names)


def _ignored(name: str) -> str:
    """An attribute as checks name it: the dictionary's spelling of a keyword, a tag in upper case."""
    parts = _IGNORED.fullmatch(name)
    if parts is None:
        raise ConfigError(f"ignore: {name!r} is neither a keyword nor (gggg,eeee), optionally with @MODULE")
    keyword, tag, module = parts.groups()
    attribute = attributes_by_keyword().get((keyword or "").lower())
    if keyword is not None and attribute is None:
        raise ConfigError(
            f"ignore: {keyword!r} is no keyword of DICOM's dictionary"
            f"{did_you_mean(keyword, [one.keyword for one in attributes_by_keyword().values()])}"
        )
    if module is not None:
        _known("ignore", [module], tables()["modules"])
    found = tag.upper() if attribute is None else attribute.keyword
    return found if module is None else f"{found}@{module}"
