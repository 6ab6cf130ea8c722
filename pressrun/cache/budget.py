"""Disk that models may take on a host: how a person writes it, and what is too large for it.

Knows nothing of what a host holds already; its cache folder makes room, or refuses by itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from pressrun.cache.options import UNLIMITED_BYTES, CacheOptions
from pressrun.errors import InvalidModel
from pressrun.location import Location
from pressrun.models.any_folder import AnyFacts
from pressrun.wording import SIZE, read_size, size

UNLIMITED = "unlimited"
BUDGET = rf"{SIZE}|^{UNLIMITED}$"


def read_budget(text: str) -> int:
    """Return the bytes of a budget as a person writes it: a size, or "unlimited".

    Raises
    ------
    ValueError
        When it is neither.
    """
    return UNLIMITED_BYTES if text == UNLIMITED else read_size(text)


def check_budget(options: CacheOptions, models: Iterable[tuple[Location, AnyFacts]]) -> None:
    """Refuse a model, embedder or adapter that is larger than the run's budget, before anything is opened for it.

    Parameters
    ----------
    options : CacheOptions
        The run's.
    models : iterable
        Where each is, with what was read there. One that is used in place needs no room.

    Raises
    ------
    InvalidModel
        When one is too large.
    """
    if options.budget_bytes is None or options.runtime == "mount":
        return
    for location, facts in models:
        size_bytes = sum(file.size_bytes for file in facts.files)
        if not location.is_local and size_bytes > options.budget_bytes:
            raise InvalidModel(
                f"The model {facts.name} ({location}) has {size(size_bytes)}, but the cache may hold "
                f"{size(options.budget_bytes)} on a host; raise the cache's budget or use a smaller model."
            )


__all__ = ["BUDGET", "UNLIMITED", "check_budget", "read_budget"]
