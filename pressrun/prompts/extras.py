"""The columns of a prompt file that Pressrun only carries along, as one JSON object a row.

Knows nothing of the columns that Pressrun reads.
"""

from __future__ import annotations

import datetime
import decimal
import json
import math
import numbers
from collections.abc import Sequence

from pressrun.prompts.problems import ProblemList

MAX_EXTRA_BYTES = 65_536
NOTHING = "{}"
_FAILURES = (TypeError, ValueError, RecursionError)


def extra_objects(
    names: Sequence[str], columns: Sequence[Sequence[object]], rows: Sequence[int], problems: ProblemList
) -> list[str]:
    """Return the rows' other columns as JSON objects with sorted keys; a missing value leaves its key out.

    Parameters
    ----------
    names : sequence of str
        Column names, sorted.
    columns : sequence of sequences
        Their values, one a row; None and NaN are missing.
    rows : sequence of int
        Row numbers.
    problems : ProblemList
        Takes what cannot be carried.

    Returns
    -------
    list of str
        One JSON object a row.
    """
    if not names:
        return [NOTHING] * len(rows)
    encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_plain_value)
    objects = []
    for row, values in zip(rows, zip(*columns, strict=True), strict=True):
        given = {name: value for name, value in zip(names, values, strict=True) if not _is_missing(value)}
        try:
            text = encoder.encode(given)
            size_bytes = len(text.encode())
        except _FAILURES:
            _note_culprits(encoder, given, row, problems)
            text, size_bytes = NOTHING, 0
        if size_bytes > MAX_EXTRA_BYTES:
            remedy = f"the other columns hold {size_bytes:,} bytes, the limit is {MAX_EXTRA_BYTES:,}; shorten them"
            problems.add(row, "", text, remedy)
        objects.append(text)
    return objects


def _is_missing(value: object) -> bool:
    """Return whether a cell holds nothing: null, or NaN as data frames write it."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _plain_value(value: object) -> object:
    """Return a JSON value for what JSON has no type for; dates become ISO text, decimals their digits."""
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    raise TypeError(f"values of type {type(value).__name__} cannot be carried")


def _note_culprits(encoder: json.JSONEncoder, given: dict[str, object], row: int, problems: ProblemList) -> None:
    """Note which of a row's values cannot be written as JSON text."""
    for name, value in given.items():
        try:
            encoder.encode({name: value}).encode()
        except _FAILURES as error:
            problems.add(row, name, value, _reason(value, error))


def _reason(value: object, error: Exception) -> str:
    """Return what is wrong with a value that JSON cannot hold."""
    if isinstance(error, UnicodeEncodeError):
        return "holds a lone surrogate; remove it"
    if isinstance(value, float):
        return f"is {value}, which JSON cannot hold; use a finite number or leave it empty"
    return "cannot be carried along as JSON; use numbers, text, true/false or dates, or delete the column"
