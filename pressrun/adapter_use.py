"""Which adapters a request uses, and what their content does to its picture's id.

Knows nothing of files: adapters are names and revisions here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import MappingProxyType

NO_ADAPTERS: Mapping[str, str] = MappingProxyType({})
NO_ADAPTERS_OF_ANY: Mapping[str, Mapping[str, str]] = MappingProxyType({})


def adapter_scales(text: str) -> dict[str, float]:
    """Return the scale of each adapter in a request's normal form, "name:scale,name:scale"."""
    pairs = (part.rpartition(":") for part in text.split(",") if part)
    return {name.strip(): float(scale) for name, _, scale in pairs}


def revision_with(model_revision: str, text: str, revisions: Mapping[str, str]) -> str:
    """Return what stands for the weights of a picture: the model's revision, and that of each adapter it uses.

    Parameters
    ----------
    model_revision : str
        The model's, returned as it is where no adapter of a known revision is used.
    text : str
        The request's adapters in their normal form.
    revisions : mapping
        Revisions of the job's adapters by name.
    """
    used = used_revisions(text, revisions)
    if not used:
        return model_revision
    return hashlib.blake2b(f"{model_revision}\0{used}".encode(), digest_size=16).hexdigest()


def used_revisions(text: str, revisions: Mapping[str, str]) -> str:
    """Return the revisions of the adapters that a request uses, as a row's provenance has them: "name=revision,..."."""
    return ",".join(f"{name}={revisions[name]}" for name in adapter_scales(text) if name in revisions)


def read_used_revisions(text: str) -> dict[str, str]:
    """Return the revisions by name that `used_revisions` wrote."""
    pairs = (part.partition("=") for part in text.split(",") if part)
    return {name: revision for name, _, revision in pairs}
