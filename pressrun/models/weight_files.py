"""Which of a component's files are loaded, and whether its weights are whole.

Knows nothing of tensors: a safetensors file is judged by its header and its length alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pressrun.errors import InvalidModel
from pressrun.models.listing import ModelListing
from pressrun.models.pipeline_index import Component, read_settings

_SINGLE = re.compile(r"(?:diffusion_pytorch_model|model)(?:\.(?P<variant>\w+))?\.safetensors")
_SHARDED = re.compile(r"(?:diffusion_pytorch_model|model)\.safetensors\.index(?:\.(?P<variant>\w+))?\.json")
_SETTINGS = "config.json"
_SETTINGS_SUFFIXES = (".json", ".txt", ".model", ".jinja", ".tiktoken")
_PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".msgpack", ".h5")
# Components of these kinds have no weights.
_WITHOUT_WEIGHTS = ("Tokenizer", "TokenizerFast", "Scheduler", "Processor", "ProcessorPil", "FeatureExtractor")
_MAX_HEADER_BYTES = 100_000_000  # the format's own limit

WeightSets = Mapping[str, list[str]]


def choose_variant(listing: ModelListing, components: Iterable[Component]) -> str | None:
    """Return the variant ("fp16") to load, or None when every component has plain weights.

    Raises
    ------
    InvalidModel
        If a component has no safetensors weights, or no one variant serves all components.
    """
    sets = {component.name: weight_sets(listing, component) for component in components if has_weights(component)}
    only_variants = {name: set(found) for name, found in sets.items() if "" not in found}
    if not only_variants:
        return None
    shared = set.intersection(*only_variants.values())
    if not shared:
        listed = "; ".join(f"{name}: {', '.join(sorted(found))}" for name, found in sorted(only_variants.items()))
        raise InvalidModel(
            f"{listing.location}: no one weight variant serves every component ({listed}); copy the same "
            "variant of each."
        )
    return min(shared)


def loaded_files(listing: ModelListing, component: Component, variant: str | None) -> list[str]:
    """Return the paths of the files that loading a component reads, weights checked.

    Parameters
    ----------
    listing : ModelListing
        The model's files.
    component : Component
        Which part.
    variant : str or None
        From `choose_variant`; a component without that variant falls back on its plain weights.

    Returns
    -------
    list of str
        Relative paths: settings and vocabularies first, then the weights.

    Raises
    ------
    InvalidModel
        If a shard is missing or a weight file is truncated.
    """
    settings = [
        name
        for name in listing.folder(component.name)
        if name.endswith(_SETTINGS_SUFFIXES) and ".index." not in name and not name.lower().startswith("readme")
    ]
    weights: list[str] = []
    if has_weights(component):
        sets = weight_sets(listing, component)
        weights = sets.get(variant or "", sets.get("", []))
    for name in weights:
        if name.endswith(".safetensors"):
            check_safetensors(listing, f"{component.name}/{name}")
    return [f"{component.name}/{name}" for name in (*settings, *weights)]


def has_weights(component: Component) -> bool:
    """Return whether a component of this class comes with weights."""
    return not component.class_name.endswith(_WITHOUT_WEIGHTS)


def weight_sets(listing: ModelListing, component: Component) -> WeightSets:
    """Return the weight files of each variant of a component; "" is the plain one.

    Raises
    ------
    InvalidModel
        If there are none, no settings beside them, or an index names a shard that is not there.
    """
    names = listing.folder(component.name)
    singles = {m["variant"] or "": [name] for name in names if (m := _SINGLE.fullmatch(name))}
    sharded = {
        m["variant"] or "": _shards(listing, component, name) for name in names if (m := _SHARDED.fullmatch(name))
    }
    # The two libraries differ in what they look for first.
    found = singles | sharded if component.library == "diffusers" else sharded | singles
    if not found:
        raise InvalidModel(_no_weights(listing, component, names))
    if _SETTINGS not in names:
        raise InvalidModel(
            f"{listing.location}: the component {component.name} ({component.class_name}) has weights but no "
            f"{_SETTINGS}; copy {component.name}/{_SETTINGS} too."
        )
    return found


def check_safetensors(listing: ModelListing, path: str) -> Mapping[str, Any]:
    """Refuse a safetensors file that is not whole, and return its header, which is all that is read.

    Raises
    ------
    InvalidModel
        If its length is not what its header says.
    """
    size_bytes, where = listing.size_bytes(path), f"{listing.location}/{path}"
    if size_bytes < 8:
        raise InvalidModel(f"{where} has {size_bytes} bytes: it is empty or cut short; copy the file again.")
    header_bytes = int.from_bytes(listing.read(path, 0, 8), "little")
    if header_bytes > min(size_bytes - 8, _MAX_HEADER_BYTES):
        raise InvalidModel(
            f"{where} has {size_bytes} bytes, but its header alone claims {header_bytes}: it is cut short or not a "
            "safetensors file (a Git LFS pointer, perhaps); copy the file again."
        )
    try:
        header: Mapping[str, Any] = json.loads(listing.read(path, 8, 8 + header_bytes))
        ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        raise InvalidModel(f"{where}: the safetensors header is damaged; copy the file again.") from None
    wanted_bytes = 8 + header_bytes + max(ends, default=0)
    if wanted_bytes != size_bytes:
        raise InvalidModel(f"{where} has {size_bytes} bytes, but its header says {wanted_bytes}; copy the file again.")
    return header


def _shards(listing: ModelListing, component: Component, index_name: str) -> list[str]:
    path = f"{component.name}/{index_name}"
    weight_map = read_settings(listing, path).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise InvalidModel(f"{listing.location}/{path} has no weight_map; copy the file again.")
    shards = sorted(set(map(str, weight_map.values())))
    present = set(listing.folder(component.name))  # plain names only, so a shard cannot point elsewhere
    missing = [shard for shard in shards if shard not in present]
    if missing:
        raise InvalidModel(
            f"{listing.location}/{path} names {len(shards)} shards, but {len(missing)} of them are missing "
            f"({', '.join(missing[:3])}); copy them too."
        )
    return [index_name, *shards]


def _no_weights(listing: ModelListing, component: Component, names: list[str]) -> str:
    where = f"{listing.location}: the component {component.name} ({component.class_name})"
    pickles = [f"{component.name}/{name}" for name in names if name.endswith(_PICKLE_SUFFIXES)]
    if pickles:
        return (
            f"{where} has weights only as {', '.join(pickles[:3])}. Such files can run code when opened; only "
            "safetensors are loaded. Convert once on a machine you trust: load the pipeline and call "
            "save_pretrained(folder, safe_serialization=True)."
        )
    return f"{where} has no safetensors weights in the folder {component.name}/; copy them too."


__all__ = ["check_safetensors", "choose_variant", "has_weights", "loaded_files", "weight_sets"]
