"""What a job's engine may be called, checked before anything is started.

Knows nothing of what engines do.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any, cast

from pressrun.errors import InvalidJob

BUILT_IN = ("diffusers", "null")


def check_engine(name: str) -> None:
    """Refuse an engine that no worker could make.

    Raises
    ------
    InvalidJob
        When the name is none of `BUILT_IN`, and not that of a callable with one argument.
    """
    if name not in BUILT_IN:
        engine_factory(name)


def engine_factory(name: str) -> Callable[[Any], Any]:
    """Return the callable behind "package.module:factory".

    Raises
    ------
    InvalidJob
        When there is none, or it does not take one argument.
    """
    module, colon, attribute = name.partition(":")
    if not colon:
        raise InvalidJob(f"There is no engine {name!r}; use 'diffusers', 'null' or 'package.module:factory'.")
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidJob(f"Engine {name!r} cannot be imported here: {error}.") from error
    try:
        inspect.signature(factory).bind(None)
    except (TypeError, ValueError) as error:
        raise InvalidJob(
            f"Engine {name!r} is no engine: it must be callable with one argument, the print order ({error})."
        ) from error
    return cast("Callable[[Any], Any]", factory)
