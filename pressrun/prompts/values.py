"""One value of a prompt file: what it must look like, and its normal form.

Knows nothing of rows, columns, files or models.
"""

from __future__ import annotations

import difflib
import math
import numbers
import re
from collections.abc import Sequence

MAX_PROMPT_CHARACTERS = 10_000
MAX_ID_CHARACTERS = 200
MAX_SEED = 2**63 - 1
MAX_ADAPTER_SCALE = 100
NO_ADAPTER = "none"
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_WHOLE = re.compile(r"[+-]?[0-9]{1,40}(\.0*)?", re.ASCII)


class BadValue(ValueError):
    """A value that cannot be used; the message says what is wrong and what to do."""


def is_blank(value: object) -> bool:
    """Return whether a cell is empty, so that the default holds."""
    return value is None or (isinstance(value, str) and (not value or value.isspace()))


def readable_text(value: object) -> str:
    """Return text with surrounding whitespace stripped.

    Parameters
    ----------
    value : object
        A prompt or negative prompt.

    Returns
    -------
    str
        0 .. `MAX_PROMPT_CHARACTERS` characters, free of control characters other than tab and newline.

    Raises
    ------
    BadValue
        When it is not text, too long, or holds characters that no model can read.
    """
    if not isinstance(value, str):
        raise BadValue(f"must be text, not {type(value).__name__}; put it in quotes")
    if len(value) > MAX_PROMPT_CHARACTERS and len(value.strip()) > MAX_PROMPT_CHARACTERS:
        raise BadValue(f"is {len(value):,} characters long, the limit is {MAX_PROMPT_CHARACTERS:,}; shorten it")
    bad = _UNPRINTABLE.search(value)
    if bad:
        kind = "control character" if _CONTROL.match(bad[0]) else "lone surrogate"
        raise BadValue(f"holds the {kind} U+{ord(bad[0]):04X} at position {bad.start() + 1}; remove it")
    return value.strip()


def prompt_text(value: object) -> str:
    """Return a prompt: readable text of at least one character.

    Parameters
    ----------
    value : object
        The prompt cell.

    Returns
    -------
    str
        1 .. `MAX_PROMPT_CHARACTERS` characters.

    Raises
    ------
    BadValue
        When it is empty or unreadable.
    """
    text = "" if value is None else readable_text(value)
    if not text:
        raise BadValue("is empty; write a prompt or delete the row")
    return text


def whole_number(value: object, low: int, high: int) -> int:
    """Return a whole number; "7.0", as spreadsheets and data frames write it, is 7.

    Parameters
    ----------
    value : object
        Number or text.
    low, high : int
        Smallest and largest allowed.

    Returns
    -------
    int
        low .. high.

    Raises
    ------
    BadValue
        When it is not whole, not finite, or out of range.
    """
    number = _whole(value)
    if number is None:
        raise BadValue(f"is no whole number; write one from {low} to {high}")
    if not low <= number <= high:
        raise BadValue(f"is out of range; write a whole number from {low} to {high}")
    return number


def _whole(value: object) -> int | None:
    """Return the whole number that `value` writes, or None."""
    if isinstance(value, str):
        text = value.strip()
        return int(text.partition(".")[0]) if _WHOLE.fullmatch(text) else None
    if isinstance(value, bool):
        return None
    if isinstance(value, numbers.Integral):
        return int(value)
    if not isinstance(value, numbers.Real):
        return None
    number = float(value)
    exact = number.is_integer() and abs(number) <= 2**53  # beyond, a float has already lost digits
    return int(number) if exact else None


def picture_side(value: object, multiple_px: int, max_px: int) -> int:
    """Return a width or height that the model can draw.

    Parameters
    ----------
    value : object
        Number or text, in pixels.
    multiple_px : int
        The model draws multiples of this only; sides are even besides.
    max_px : int
        Longest side allowed.

    Returns
    -------
    int
        Pixels.

    Raises
    ------
    BadValue
        When it is not whole, zero, negative, too long, or no multiple.
    """
    side_px = whole_number(value, 1, max_px)
    step_px = math.lcm(2, multiple_px)
    if side_px % step_px:
        below = side_px - side_px % step_px
        nearest = [near for near in (below, below + step_px) if 0 < near <= max_px]
        raise BadValue(f"is no multiple of {step_px}; the nearest are {' and '.join(map(str, nearest))}")
    return side_px


def finite_number(value: object, low: float, high: float) -> float:
    """Return a finite number.

    Parameters
    ----------
    value : object
        Number or text with a decimal point.
    low, high : float
        Smallest and largest allowed.

    Returns
    -------
    float
        low .. high.

    Raises
    ------
    BadValue
        When it is no number, not finite, or out of range.
    """
    try:
        if isinstance(value, bool) or not isinstance(value, str | numbers.Real):
            raise ValueError
        number = float(value)
    except (ValueError, OverflowError):
        number = math.nan
    if not low <= number <= high:
        raise BadValue(f"is no number from {low:g} to {high:g}; write one, with a decimal point")
    return number + 0.0  # -0.0 would give another image id than 0.0


def choice(value: object, choices: Sequence[str]) -> str:
    """Return one of the named choices, in any case and with "_" or " " for "-".

    Parameters
    ----------
    value : object
        The cell.
    choices : sequence of str
        Valid names, in lower case.

    Returns
    -------
    str
        The choice.

    Raises
    ------
    BadValue
        When it is none of them; the nearest is suggested and all are listed.
    """
    name = value.strip().lower().replace("_", "-").replace(" ", "-") if isinstance(value, str) else ""
    if name not in choices:
        near = difflib.get_close_matches(name, choices, n=1)
        guess = f"is unknown; did you mean '{near[0]}'?" if near else "is unknown."
        raise BadValue(f"{guess} Valid: {', '.join(choices)}")
    return name


def adapter_list(value: object, known: Sequence[str]) -> str:
    """Return adapters in their normal form: "name:scale,name:scale", names sorted.

    Parameters
    ----------
    value : object
        Text such as "ink:0.8,paper"; a missing scale is 1; "none" is none, where the default is some.
    known : sequence of str
        Adapters that the job has.

    Returns
    -------
    str
        "" when there are none.

    Raises
    ------
    BadValue
        When a name is unknown or named twice, or a scale is no finite number.
    """
    if not isinstance(value, str):
        raise BadValue("must be text such as 'name:0.8,other:1'")
    if value.strip().lower() == NO_ADAPTER:
        return ""
    scales: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in value.split(","))):
        name, _, scale = (piece.strip() for piece in part.partition(":"))
        if name not in known:
            valid = ", ".join(known) if known else "none, the job has no adapters; give it some (--adapter NAME=FILE)"
            raise BadValue(f"names the unknown adapter {name[:MAX_ID_CHARACTERS]!r}. Valid: {valid}")
        if name in scales:
            raise BadValue(f"names adapter {name!r} twice; keep one")
        try:
            scales[name] = finite_number(scale or "1", -MAX_ADAPTER_SCALE, MAX_ADAPTER_SCALE)
        except BadValue as error:
            raise BadValue(f"gives adapter {name!r} a scale that {error}") from None
    return ",".join(f"{name}:{scales[name]!r}" for name in sorted(scales))


def row_id(value: object) -> str:
    """Return a user's own id for a row.

    Parameters
    ----------
    value : object
        Text or a whole number.

    Returns
    -------
    str
        1 .. `MAX_ID_CHARACTERS` characters, safe as a file name.

    Raises
    ------
    BadValue
        When it is too long or could lead to another folder.
    """
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole and not isinstance(value, str):
        raise BadValue(f"must be text or a whole number, not {type(value).__name__}; write it as text")
    text = f"{value}".strip()
    if len(text) > MAX_ID_CHARACTERS:
        raise BadValue(f"is {len(text):,} characters long, the limit is {MAX_ID_CHARACTERS}; shorten it")
    if ".." in text or text.startswith(".") or any(mark in text for mark in "/\\\t\n\r"):
        raise BadValue("must be safe as a file name: no '..', '/', '\\', tab, newline or leading dot; rename it")
    if _UNPRINTABLE.search(text):
        raise BadValue("holds control characters or lone surrogates; remove them")
    return text
