"""Single values as JSON."""

import base64
import json
import math
from datetime import date, time
from decimal import Decimal
from typing import Any

from harvester.messages import printable_json


def json_value(value: Any) -> str:
    """One value of Python as JSON."""
    if isinstance(value, dict):
        pairs = (f"{json_value(str(key))}: {json_value(inner)}" for key, inner in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(json_value, value))}]"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, float) and not math.isfinite(value):
        return "null"
    plain = value if value is None or isinstance(value, (bool, int, float)) else json_scalar(value)
    return printable_json(json.dumps(plain, ensure_ascii=False))


def json_scalar(value: Any) -> str:
    """A value that JSON has no type for, as text: dates in ISO 8601, bytes in Base64."""
    if isinstance(value, (date, time)):
        return value.isoformat()
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
