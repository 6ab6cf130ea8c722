"""A manifest row as one line of JSON.

Knows nothing of where the line goes. The columns are the manifest's: `extra` stays the JSON text that it is there, so
that every row has the same columns of the same types; times are ISO text in UTC.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any


def json_line(row: Mapping[str, Any]) -> bytes:
    """Return a row as JSON in UTF-8, without a line break."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False, default=_plain).encode()


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")  # the same form for all, or readers guess two types
    raise TypeError(f"{type(value).__name__} is no type of the manifest's")
