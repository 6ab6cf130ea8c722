"""Conditions on manifest rows, as a person types them: "width_px=64", "extra.campaign=summer", "prompt~star".

Knows nothing of vectors or of where rows come from. Nothing a person types is ever evaluated.
"""

from __future__ import annotations

import difflib
import json
import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pressrun.errors import InvalidQuery

EXTRA = "extra"
_EXTRA_PREFIX = "extra."
_HIDDEN = (EXTRA, "embedding")
_CONDITION = re.compile(r"\s*([^=!<>~]+?)\s*(!=|<=|>=|==?|<|>|~)\s*(.*?)\s*", re.DOTALL)
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_COMPARE_COLUMN: dict[str, Callable[[Any, Any], Any]] = {
    "=": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that a row must fulfil.

    Parameters
    ----------
    name : str
        A manifest column, or "extra." and a column of the prompt file that was carried along.
    operator : str
        =, !=, <, <=, >, >=, or ~ for "contains, upper and lower case alike".
    value : str
        What it is compared with; a number for number columns, an ISO date or time for times.
    """

    name: str
    operator: str
    value: str

    @property
    def column(self) -> str:
        """The manifest column that has to be read."""
        return EXTRA if self.name.startswith(_EXTRA_PREFIX) else self.name


def parse_condition(text: str, schema: pa.Schema) -> Condition:
    """Read one condition and check it against the columns there are.

    Parameters
    ----------
    text : str
        NAME OPERATOR VALUE, blanks around them allowed, the value in quotes or not.
    schema : pyarrow.Schema
        The manifest's.

    Returns
    -------
    Condition
        The condition.

    Raises
    ------
    InvalidQuery
        When it cannot be read, the column does not exist, or the value does not fit the column.
    """
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise InvalidQuery(
            f"Condition {text!r} cannot be read; write NAME=VALUE, with = != < <= > >= or ~ (contains), "
            'such as "seed>=10".'
        )
    name, sign, value = match.groups()
    condition = Condition(name, "=" if sign == "==" else sign, _unquoted(value))
    if not name.startswith(_EXTRA_PREFIX):
        _check_column(condition, schema)
    elif name == _EXTRA_PREFIX:
        raise InvalidQuery(f"Condition {text!r} names no column; write extra. and a column of your prompt file.")
    return condition


def matching(rows: pa.Table, conditions: Sequence[Condition]) -> Mask:
    """Return which rows fulfil every condition; a missing value fulfils only `!=`.

    Parameters
    ----------
    rows : pyarrow.Table
        N manifest rows with the columns of the conditions.
    conditions : sequence of Condition
        None or more.

    Returns
    -------
    numpy.ndarray
        (N,) bool.
    """
    mask = np.ones(rows.num_rows, bool)
    for condition in conditions:
        column = rows.column(condition.column)
        mask &= _extra_mask(column, condition) if condition.column == EXTRA else _column_mask(column, condition)
    return mask


def _check_column(condition: Condition, schema: pa.Schema) -> None:
    columns = [name for name in schema.names if name not in _HIDDEN]
    if condition.name not in columns:
        close = difflib.get_close_matches(condition.name, columns, 1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise InvalidQuery(
            f"There is no column {condition.name!r} to filter on{hint}; there are {', '.join(columns)}, "
            "and extra.NAME for the other columns of your prompt file."
        )
    kind = schema.field(condition.name).type
    if condition.operator == "~" and not pa.types.is_string(kind):
        raise InvalidQuery(f"{condition.name} holds {kind}, and ~ works on text only; use = != < <= > or >=.")
    _typed(condition, kind)


def _column_mask(column: pa.ChunkedArray, condition: Condition) -> Mask:
    if condition.operator == "~":
        mask = pc.match_substring(column, condition.value, ignore_case=True)
    else:
        mask = _COMPARE_COLUMN[condition.operator](column, _typed(condition, column.type))
    filled: Mask = mask.fill_null(condition.operator == "!=").to_numpy()
    return filled


def _typed(condition: Condition, kind: pa.DataType) -> pa.Scalar:
    """Return the condition's value as Arrow compares it with a column of this type."""
    if pa.types.is_string(kind):
        return pa.scalar(condition.value)
    try:
        if pa.types.is_timestamp(kind):
            moment = datetime.fromisoformat(condition.value)
            return pa.scalar(moment if moment.tzinfo else moment.replace(tzinfo=UTC), kind)
        return pa.scalar(condition.value).cast(pa.int64() if condition.value.lstrip("-").isdecimal() else pa.float64())
    except ValueError as error:  # Arrow's errors are ValueErrors too
        wanted = "a date or time such as 2026-01-31" if pa.types.is_timestamp(kind) else "a number"
        raise InvalidQuery(f"{condition.name} needs {wanted}, not {condition.value!r}.") from error


def _extra_mask(column: pa.ChunkedArray, condition: Condition) -> Mask:
    key = condition.name.removeprefix(_EXTRA_PREFIX)
    distinct = column.combine_chunks().dictionary_encode()  # thousands of rows often carry the same few values
    answers = [_extra_matches(json.loads(text), key, condition) for text in distinct.dictionary.to_pylist()]
    mask: Mask = np.array(answers, bool)[distinct.indices.to_numpy()]
    return mask


def _extra_matches(extra: dict[str, Any], key: str, condition: Condition) -> bool:
    found = extra.get(key)
    if found is None:
        return condition.operator == "!="
    text = found if isinstance(found, str) else json.dumps(found)
    if condition.operator == "~":
        return condition.value.casefold() in text.casefold()
    numbers = _number(text), _number(condition.value)
    compare = _COMPARE[condition.operator]
    return bool(compare(text, condition.value) if None in numbers else compare(*numbers))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return None if math.isnan(number) else number  # the word "nan" equals itself, the number does not


def _unquoted(value: str) -> str:
    quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted else value
