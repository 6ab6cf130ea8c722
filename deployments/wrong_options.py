"""What a form refuses, told as the options of a command. Knows nothing of forms or commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pressrun.errors import InvalidJob

if TYPE_CHECKING:
    from pydantic import ValidationError

_PREFIX = "Value error, "  # pydantic's own


def wrong_options(error: ValidationError, option: Callable[[tuple[int | str, ...]], str]) -> InvalidJob:
    """Return the refusal of every option that is out of its range.

    Parameters
    ----------
    error : pydantic.ValidationError
        What the form says.
    option : callable
        Names the option that a place in the form stands for.
    """
    lines = [f"{option(one['loc'])} {one['input']!r}: {one['msg'].removeprefix(_PREFIX)}" for one in error.errors()]
    return InvalidJob("The options are not valid:\n  " + "\n  ".join(lines))


__all__ = ["wrong_options"]
