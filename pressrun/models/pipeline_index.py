"""What a pipeline folder says it is made of: model_index.json, read and judged before anything is loaded.

Knows nothing of weights or of the libraries that the components come from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pressrun.errors import InvalidModel
from pressrun.models.listing import ModelListing

INDEX_NAME = "model_index.json"
# Besides the two libraries: the pipeline packages of diffusers that bring components of their own.
KNOWN_LIBRARIES = frozenset(
    "diffusers transformers deepfloyd_if flux ideogram4 kandinsky kolors latent_diffusion stable_diffusion "
    "wuerstchen".split()
)
# Pipelines that want more than text, or give something else than a picture.
_OTHER_TASKS = tuple(
    "Img2Img Inpaint Upscale InstructPix2Pix Depth2Img ImageVariation SuperResolution Edit Control Video Audio "
    "Music AnimateDiff ToText Prior".split()
)


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a pipeline, in the folder of its name.

    Parameters
    ----------
    name : str
        Folder name, for instance "unet".
    library : str
        Package that defines it.
    class_name : str
        Its class there.
    """

    name: str
    library: str
    class_name: str


@dataclass(frozen=True, slots=True)
class PipelineIndex:
    """The contents of model_index.json.

    Parameters
    ----------
    pipeline_class : str
        Class name of the pipeline.
    components : tuple of Component
        The parts that are there; those set to null are left out.
    """

    pipeline_class: str
    components: tuple[Component, ...]


def read_index(listing: ModelListing) -> PipelineIndex:
    """Read model_index.json and refuse what can never be run.

    Parameters
    ----------
    listing : ModelListing
        The model's files.

    Returns
    -------
    PipelineIndex
        A text-to-image pipeline, as far as its name tells, of known libraries only.

    Raises
    ------
    InvalidModel
        If the file is missing or broken, brings its own code, names another task, or lacks a component's folder.
    """
    if INDEX_NAME not in listing.infos:
        raise InvalidModel(
            f"The model {listing.location} has no {INDEX_NAME}: a folder in the diffusers layout is wanted. Convert a "
            "single-file checkpoint with the pipeline's from_single_file and save_pretrained."
        )
    _refuse_code(listing)
    settings = read_settings(listing, INDEX_NAME)
    pipeline_class = settings.get("_class_name")
    if not isinstance(pipeline_class, str):
        raise InvalidModel(
            f"{listing.location}/{INDEX_NAME}: _class_name is {pipeline_class!r}, but the name of a diffusers pipeline "
            "is wanted; pipelines with code of their own are never run."
        )
    _refuse_other_tasks(listing, pipeline_class)
    parts = ((name, value) for name, value in settings.items() if not name.startswith("_") and isinstance(value, list))
    components = tuple(_component(listing, name, value) for name, value in parts if any(value))
    if not components:
        raise InvalidModel(f"{listing.location}/{INDEX_NAME} names no component; save the pipeline again.")
    return PipelineIndex(pipeline_class, components)


def read_settings(listing: ModelListing, path: str) -> Mapping[str, Any]:
    """Return a JSON file's object.

    Raises
    ------
    InvalidModel
        If the file holds anything else.
    """
    try:
        settings = json.loads(listing.read(path))
    except ValueError as error:
        raise InvalidModel(f"{listing.location}/{path} is not valid JSON ({error}); copy the file again.") from None
    if not isinstance(settings, dict):
        raise InvalidModel(f"{listing.location}/{path} holds a JSON {type(settings).__name__}, not an object.")
    return settings


def _component(listing: ModelListing, name: str, value: list[Any]) -> Component:
    if len(value) != 2 or not all(isinstance(part, str) for part in value):
        raise InvalidModel(
            f"{listing.location}/{INDEX_NAME}: the component {name} is {value!r}, but [library, class] is wanted."
        )
    if not name.isidentifier():  # it becomes a folder's name, here and in the cache
        raise InvalidModel(
            f"{listing.location}/{INDEX_NAME}: {name!r} cannot be a component's name; use letters and _."
        )
    component = Component(name, *value)
    if component.library not in KNOWN_LIBRARIES:
        raise InvalidModel(
            f"{listing.location}: the component {name} comes from {component.library!r}, which is not part of "
            "diffusers or transformers. Code that comes with a model is never run; use a model made of "
            "known components."
        )
    if not listing.folder(name):
        raise InvalidModel(
            f"{listing.location}: the component {name} ({component.class_name}) is missing: no files in the folder "
            f"{name}/. Copy that folder too, or set the component to [null, null] in {INDEX_NAME} if it is optional."
        )
    return component


def _refuse_code(listing: ModelListing) -> None:
    code = sorted(path for path in listing.infos if path.endswith((".py", ".so", ".pyc")))
    if code:
        raise InvalidModel(
            f"{listing.location} holds program code ({', '.join(code[:3])}). Code that comes with a model is never "
            "run; if the pipeline does not need it, remove it."
        )


def _refuse_other_tasks(listing: ModelListing, pipeline_class: str) -> None:
    task = next((task for task in _OTHER_TASKS if task in pipeline_class), None)
    if task:
        raise InvalidModel(
            f"{listing.location} is a {pipeline_class}, which does not make pictures from text alone ({task}); use the "
            "text-to-image pipeline of the same weights."
        )


__all__ = ["INDEX_NAME", "Component", "PipelineIndex", "read_index", "read_settings"]
