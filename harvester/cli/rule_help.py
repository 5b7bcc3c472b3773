"""What rules there are, as a page: from their docstrings and their parameters."""

import inspect
from typing import Any

from harvester.audits import BUILT_IN, Rule, parameters
from harvester.audits.rules.sql import SqlRule

_SHARED = frozenset(Rule.model_fields) - {"modality", "sop_class_uid"} | {"Modality", "SOPClassUID"}


def told_rules() -> str:
    """All rules in Markdown: what each asks for, its severity, what it counts, its parameters."""
    rules: list[type[Rule]] = [*BUILT_IN, SqlRule]
    return "\n\n".join(map(_told, rules))


def _told(rule: type[Rule]) -> str:
    fields = parameters(rule)
    lines = [
        f"### `{rule.kind}`",
        "",
        inspect.getdoc(rule) or "",
        "",
        f"Severity `{fields['severity'].default}`; counts {_plural(rule.unit)}."
        + (f" Shows {', '.join(f'`{column}`' for column in rule.columns)}." if rule.columns else ""),
    ]
    own = [f"`{name}`{_default(field)}" for name, field in fields.items() if name not in _SHARED]
    if own:
        lines.append(f"Parameters: {', '.join(own)}.")
    return "\n".join(lines)


def _plural(unit: str) -> str:
    return {"series": "series", "study": "studies"}.get(unit, f"{unit}s")


def _default(field: Any) -> str:
    value = field.default
    if field.is_required():
        return " (required)"
    if isinstance(value, (int, float, str)) and not isinstance(value, bool) and len(str(value)) < 20:
        return f" (`{value}`)"
    return ""
