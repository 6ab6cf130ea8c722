"""What a CLIP or SigLIP folder holds, read from its config and listing alone.

Knows nothing of torch or transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pressrun.errors import InvalidModel
from pressrun.location import Location
from pressrun.models.diffusers_folder import ModelFile, describe, revision_of
from pressrun.models.listing import list_model
from pressrun.models.pipeline_index import read_settings

_LOADED_ENDINGS = (".json", ".txt", ".model", ".safetensors")


@dataclass(frozen=True, slots=True)
class EmbedderFacts:
    """What is known of an embedder before it is loaded.

    Parameters
    ----------
    name : str
        Last part of its location.
    revision : str
        32 hexadecimal digits over path, size and digest of every file.
    dimension : int
        Length of an embedding.
    weight_bytes : int
        Size of its weight files together.
    files : tuple of ModelFile
        What loading reads.
    """

    name: str
    revision: str
    dimension: int
    weight_bytes: int
    files: tuple[ModelFile, ...]


def read_embedder(location: Location) -> EmbedderFacts:
    """Read what an embedder is from its folder.

    Raises
    ------
    InvalidModel
        When the folder cannot be read, has no config, no safetensors weights, or is neither CLIP nor SigLIP.
    """
    listing = list_model(location)
    paths = sorted(path for path in listing.infos if "/" not in path and path.endswith(_LOADED_ENDINGS))
    if "config.json" not in paths:
        raise InvalidModel(f"Embedder {location} has no config.json; give the folder of a CLIP or SigLIP model.")
    weights = [path for path in paths if path.endswith(".safetensors")]
    if not weights:
        raise InvalidModel(
            f"Embedder {location} has no safetensors weights; save it again with safe_serialization=True."
        )
    files = describe(listing, paths)
    return EmbedderFacts(
        name=listing.root.rpartition("/")[2],
        revision=revision_of(location, files),
        dimension=_dimension(read_settings(listing, "config.json"), location),
        weight_bytes=sum(listing.size_bytes(path) for path in weights),
        files=files,
    )


def _dimension(config: Mapping[str, Any], location: Location) -> int:
    kind = str(config.get("model_type", ""))
    if kind.startswith("siglip"):
        return int(config.get("vision_config", {}).get("hidden_size", 768))  # SigLIP's own default width
    if kind == "clip":
        return int(config.get("projection_dim", 512))  # CLIP's own default
    raise InvalidModel(f"Embedder {location} is a {kind or 'nameless'} model; use a CLIP, SigLIP or SigLIP 2 folder.")
