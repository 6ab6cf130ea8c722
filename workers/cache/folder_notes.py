"""Notes in a cache folder: what its revisions are called and where they came from, for people; what it may hold.

Knows nothing of chunks. A note that is missing or cannot be read is none: no name, no limit.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from pressrun.cache.options import UNLIMITED_BYTES
from pressrun.location import Location

_BUDGET_NAME = "budget.json"
_MODEL_SUFFIX = ".model.json"


@dataclass(frozen=True, slots=True)
class KnownModel:
    """What a revision is to people.

    Parameters
    ----------
    name : str
        The model's name; "" where nobody told.
    origin : str
        Where it came from, without credentials; "" where nobody told.
    """

    name: str = ""
    origin: str = ""


def note_model(root: Path, revision: str, name: str, location: Location) -> None:
    """Note a revision's name and origin; the origin without credentials."""
    if known_model(root, revision) == KnownModel(name, str(location)):
        return
    _write(root / f"{revision}{_MODEL_SUFFIX}", {"name": name, "origin": str(location)})


def known_model(root: Path, revision: str) -> KnownModel:
    """Return what was noted of a revision."""
    told = _read(root / f"{revision}{_MODEL_SUFFIX}")
    return KnownModel(str(told.get("name", "")), str(told.get("origin", "")))


def forget_model(root: Path, revision: str) -> None:
    """Remove the note of a revision, if there is one."""
    (root / f"{revision}{_MODEL_SUFFIX}").unlink(missing_ok=True)


def note_budget(root: Path, budget_bytes: int | None) -> None:
    """Note what the folder may hold, for all who fill it; None or `UNLIMITED_BYTES` for no limit."""
    limit_bytes = None if budget_bytes == UNLIMITED_BYTES else budget_bytes
    if noted_budget(root) != limit_bytes:
        _write(root / _BUDGET_NAME, {"budget_bytes": limit_bytes})


def noted_budget(root: Path) -> int | None:
    """Return what the folder may hold; None for no limit, or when nobody told."""
    budget_bytes = _read(root / _BUDGET_NAME).get("budget_bytes")
    return budget_bytes if isinstance(budget_bytes, int) else None


def _write(path: Path, record: dict[str, Any]) -> None:
    file = NamedTemporaryFile("w", dir=path.parent, prefix=".note-", delete=False, encoding="utf-8")
    try:
        with file:
            json.dump(record, file)
        os.replace(file.name, path)  # it is this user's only, as the folder is
    except BaseException:  # a full disk
        os.unlink(file.name)
        raise


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


__all__ = ["KnownModel", "forget_model", "known_model", "note_budget", "note_model", "noted_budget"]
