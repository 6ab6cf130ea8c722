"""How optional fields look in Prefect's forms.

Knows nothing of any particular field.
"""

from __future__ import annotations

from typing import Any

_NULL = {"type": "null"}


def may_be_empty(schema: dict[str, Any], default: str | None = None) -> None:
    """Show an optional field as one that may be left empty, not as a choice between a type and "None".

    Parameters
    ----------
    schema : dict
        JSON schema of a field annotated `X | None`, changed in place. None stays allowed: the server adds it to
        every field without a default.
    default : str or None
        What the form starts with.
    """
    branches = [branch for branch in schema.pop("anyOf") if branch != _NULL]
    schema.pop("default", None)
    schema.update(branches[0] if len(branches) == 1 else {"anyOf": branches})
    if default is not None:
        schema["default"] = default
