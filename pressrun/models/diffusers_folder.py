"""What a model folder holds, read from its JSON files and listing alone.

Knows nothing of torch or diffusers: the facts are known before anything is copied, loaded or paid for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pressrun.location import Location
from pressrun.models.content_names import names_a_write, place_of
from pressrun.models.listing import ModelListing, list_model
from pressrun.models.native_size import native_size_px, size_multiple_px
from pressrun.models.pipeline_index import INDEX_NAME, read_index, read_settings
from pressrun.models.weight_files import choose_variant, loaded_files

_DENOISERS = ("unet", "transformer", "decoder")
_DECODERS = ("vae", "movq", "vqgan", "vqvae")
_HASH_THREADS = 4


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file that loading the model reads.

    Parameters
    ----------
    path : str
        POSIX path relative to the model's folder.
    size_bytes : int
        Its size.
    digest : str
        What names its contents: a content hash for local files, the store's checksum for remote ones.
    """

    path: str
    size_bytes: int
    digest: str


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of a model before it is loaded.

    Parameters
    ----------
    name : str
        Last part of its location.
    revision : str
        32 hexadecimal digits (BLAKE2b) over path, size and digest of every file, and over the place where the digests
        do not tell contents apart; part of every picture's id.
    pipeline_class : str
        Class name of the diffusers pipeline.
    width_px, height_px : int
        Size the model was trained at.
    size_multiple_px : int
        Width and height must be multiples of this.
    flow_matching : bool
        Whether it was trained by flow matching; decides which schedulers suit it.
    weight_bytes : int
        Size of its weight files together.
    files : tuple of ModelFile
        What loading reads, by path; nothing else of the folder matters.
    variant : str or None
        Weight variant to load ("fp16") where the plain weights are not there.
    """

    name: str
    revision: str
    pipeline_class: str
    width_px: int
    height_px: int
    size_multiple_px: int
    flow_matching: bool
    weight_bytes: int
    files: tuple[ModelFile, ...]
    variant: str | None = None


def read_model(location: Location) -> ModelFacts:
    """Read what a model is from its folder, and refuse it here if it cannot be used.

    Local files are hashed whole, so the same model elsewhere has the same revision.

    Parameters
    ----------
    location : Location
        Folder or bucket prefix in the diffusers layout.

    Returns
    -------
    ModelFacts
        The facts.

    Raises
    ------
    InvalidModel
        If the location cannot be read, is no diffusers folder, lacks a component, holds pickle weights only, has
        truncated weights, brings code, or makes something else than pictures from text.
    """
    listing = list_model(location)
    index = read_index(listing)
    variant = choose_variant(listing, index.components)
    paths = {path for component in index.components for path in loaded_files(listing, component, variant)}
    files = describe(listing, sorted({INDEX_NAME, *paths}))
    denoiser, decoder = _settings(listing, _DENOISERS), _settings(listing, _DECODERS)
    width_px, height_px = native_size_px(denoiser, decoder)
    return ModelFacts(
        name=listing.root.rpartition("/")[2],
        revision=revision_of(location, files),
        pipeline_class=index.pipeline_class,
        width_px=width_px,
        height_px=height_px,
        size_multiple_px=size_multiple_px(denoiser, decoder),
        flow_matching=_is_flow_matching(listing),
        weight_bytes=sum(file.size_bytes for file in files if file.path.endswith(".safetensors")),
        files=files,
        variant=variant,
    )


def describe(listing: ModelListing, paths: list[str]) -> tuple[ModelFile, ...]:
    """Return size and digest of the named files; local ones are read whole for it."""
    # xxhash lets go of the interpreter lock, so threads keep several disks or one fast one busy.
    with ThreadPoolExecutor(_HASH_THREADS) as threads:
        digests = list(threads.map(listing.digest, paths))
    return tuple(ModelFile(path, listing.size_bytes(path), digest) for path, digest in zip(paths, digests, strict=True))


def revision_of(location: Location, files: tuple[ModelFile, ...]) -> str:
    """Return the digest over a model's files: 32 hexadecimal digits.

    Parameters
    ----------
    location : Location
        Where they lie; part of the revision only where files of other bytes could have the same digests.
    files : tuple of ModelFile
        What loading reads.
    """
    hasher = hashlib.blake2b(digest_size=16)
    for file in files:
        hasher.update(f"{file.path}\0{file.size_bytes}\0{file.digest}\n".encode())
    if not all(names_a_write(location, file.digest) for file in files):
        hasher.update(f"at {place_of(location)}\n".encode())
    return hasher.hexdigest()


def _settings(listing: ModelListing, names: tuple[str, ...]) -> Mapping[str, Any] | None:
    path = next((f"{name}/config.json" for name in names if f"{name}/config.json" in listing.infos), None)
    return None if path is None else read_settings(listing, path)


def _is_flow_matching(listing: ModelListing) -> bool:
    path = "scheduler/scheduler_config.json"
    if path not in listing.infos:
        return False
    settings = read_settings(listing, path)
    return (
        str(settings.get("_class_name", "")).startswith("FlowMatch")
        or settings.get("prediction_type") == "flow_prediction"
        or settings.get("use_flow_sigmas") is True
    )


__all__ = ["ModelFacts", "ModelFile", "read_model"]
