"""What lies at a place: a model, an embedder or an adapter.

Knows nothing of what jobs do with them.
"""

from __future__ import annotations

import re

from pressrun.location import Location
from pressrun.models.adapter_file import Adapter, read_adapter
from pressrun.models.diffusers_folder import ModelFacts, read_model
from pressrun.models.embedder_folder import EmbedderFacts, read_embedder
from pressrun.models.listing import list_model

AnyFacts = ModelFacts | EmbedderFacts | Adapter
_NO_NAME = re.compile(r"[^0-9A-Za-z_-]+")


def read_any(location: Location) -> AnyFacts:
    """Read what lies at a location, told by its files.

    Raises
    ------
    InvalidModel
        If the location cannot be read, or what lies there cannot be used.
    """
    listing = list_model(location, single_file=True)
    if "model_index.json" in listing.infos:
        return read_model(location)
    if "config.json" in listing.infos:
        return read_embedder(location)
    if any(path.endswith(".safetensors") for path in listing.infos):
        stem = str(location).rstrip("/").rpartition("/")[2].removesuffix(".safetensors")
        adapter, _ = read_adapter(_NO_NAME.sub("-", stem)[:64] or "adapter", location)
        return adapter
    return read_model(location)  # which says what a model's folder needs


__all__ = ["AnyFacts", "read_any"]
