"""What is checked, from names as they are typed."""

from collections.abc import Iterable

from harvester.audits.conformance.checks import Selection
from harvester.audits.conformance.plans import ConformanceOptions
from harvester.audits.rules.base import SEVERITIES
from harvester.audits.vocabulary import uid_of
from harvester.errors import ConfigError
from harvester.messages import did_you_mean


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
        iods=frozenset(iods),
        types=frozenset(types),
        modules=frozenset(modules),
        severities=frozenset(SEVERITIES[SEVERITIES.index(severity) :]),
        ignore=frozenset(ignore),
        extended=extended,
    )
    return ConformanceOptions(classes, selection, private, where)
