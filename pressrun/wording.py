"""Times, sums, sizes and counts as people say them, and times as they write them.

Knows nothing of what is counted or paid for.
"""

from __future__ import annotations

import math
import re

_UNITS_S = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_UNITS_BYTES = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))
_PIECE = r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d)\s*"
DURATION = rf"^\s*(?:{_PIECE})+$"
_SIZE_PARTS = r"(\d+(?:\.\d+)?)\s*([kKMGT]i?)B"
SIZE = rf"^\s*{_SIZE_PARTS}\s*$"


def read_duration(text: str) -> float:
    """Return the seconds of a time as a person writes it: "90m", "2h", "1.5h", "1h30m", "45 s", "2d".

    Raises
    ------
    ValueError
        When it is none, or not above 0.
    """
    seconds = sum(float(number) * _UNITS_S[unit] for number, unit in re.findall(_PIECE, text))
    if not re.match(DURATION, text) or not 0 < seconds < math.inf:
        raise ValueError(f"{text!r} is no time above 0; write it as 90m, 2h, 1.5h, 1h30m or 2d.")
    return seconds


def read_size(text: str) -> int:
    """Return the bytes of a size as a person writes it: "200GB", "1.5 TB", "512 MiB".

    Raises
    ------
    ValueError
        When it is none, or not above 0.
    """
    found = re.match(SIZE, text)
    if found is None or not float(found[1]):
        raise ValueError(f"{text!r} is no size above 0; write it as 200GB, 1.5TB or 512MiB.")
    step = 1024 if found[2].endswith("i") else 1000
    size: float = float(found[1]) * step ** ("KMGT".index(found[2][0].upper()) + 1)
    return round(size)


def duration(seconds: float) -> str:
    """Return a time as a person says it: "0.4 s", "12 s", "3 min 05 s", "2 h"."""
    whole = round(seconds)
    if 0 < seconds < 9.95 and seconds != whole:
        return f"{seconds:.1f} s"
    if whole < 60:
        return f"{whole} s"
    large, small, names = (
        (*divmod(whole, 60), ("min", "s")) if whole < 3600 else (*divmod(whole // 60, 60), ("h", "min"))
    )
    return f"{large} {names[0]} {small:02d} {names[1]}" if small else f"{large} {names[0]}"


def duration_that_suffices(seconds: float) -> str:
    """Return a time no shorter than the one given, said as `duration` says it."""
    step_s = 60 if seconds > 3600 else 1
    return duration(math.ceil(seconds / step_s) * step_s)


def quantity(value: float) -> str:
    """Return a number with three digits that matter: "0.42", "12.3", "1,234"."""
    if value == 0 or abs(value) >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 0.995 else f"{value:.{2 - (abs(value) >= 9.95)}f}".rstrip("0").rstrip(".")


def amount(cost: float) -> str:
    """Return a sum of money, small ones with more digits: "12.30", "0.0042"."""
    return f"{cost:,.2f}" if cost >= 0.1 or cost == 0 else f"{cost:.2g}"


def amount_that_suffices(cost: float) -> str:
    """Return a sum no smaller than the one given, said as `amount` says it."""
    if cost <= 0:
        return amount(0)
    units = 100 if cost >= 0.1 else 10 ** (1 - math.floor(math.log10(cost)))
    return amount(math.ceil(cost * units) / units)


def size(size_bytes: float) -> str:
    """Return a number of bytes with three digits that matter: "512 MB", "1.02 GB", "37 bytes"."""
    for unit_bytes, unit in _UNITS_BYTES:
        if abs(size_bytes) >= 0.9995 * unit_bytes:
            return f"{quantity(size_bytes / unit_bytes)} {unit}"
    return count(round(size_bytes), "byte")


def count(number: int, name: str) -> str:
    """Return a number of things: "1 worker", "3,200 images"."""
    return f"{number:,} {name}{'' if number == 1 else 's'}"
