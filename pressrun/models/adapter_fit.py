"""Whether adapters are made for a model: the layers they change, held against the headers of the model's weights.

Knows nothing of torch or diffusers. Layers that a file names in a way of its own are left for loading to judge.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pressrun.errors import InvalidModel
from pressrun.location import Location
from pressrun.models.adapter_file import Adapter, LayerChange, Shape, read_adapter, tensor_shapes
from pressrun.models.diffusers_folder import ModelFacts
from pressrun.models.listing import list_model
from pressrun.models.weight_files import check_safetensors

_WEIGHTS = re.compile(r"(?P<component>\w+)/[^/]+\.safetensors")
# What kohya's scripts call a model's parts. They write "_" for "." in layer names.
_FLAT_PREFIXES = {
    "lora_unet_": "unet",
    "lora_te_": "text_encoder",
    "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2",
    "lora_te3_": "text_encoder_3",
    "lora_transformer_": "transformer",
}
_DENOISERS = ("unet", "transformer")

Shapes = Mapping[str, Shape]


def read_adapters(places: Mapping[str, Location], model: Location, facts: ModelFacts) -> tuple[Adapter, ...]:
    """Read a job's adapters, and refuse those that are not made for its model.

    Parameters
    ----------
    places : mapping
        Where each adapter is, by name.
    model : Location
        The model's folder.
    facts : ModelFacts
        What was read there.

    Returns
    -------
    tuple of Adapter
        By name.

    Raises
    ------
    InvalidJob
        If a name cannot be one.
    InvalidModel
        If an adapter cannot be read, is none, or changes layers that the model does not have in that size.
    """
    found = [read_adapter(name, places[name]) for name in sorted(places)]
    if found:
        layers = _Layers(model, facts)
        for adapter, changes in found:
            layers.check(adapter, changes)
    return tuple(adapter for adapter, _ in found)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a layer that an adapter names would be in the model."""

    component: str
    flat_name: str
    is_exact: bool  # named as diffusers names it, so that it must be there


class _Layers:
    """A model's layers, read component by component as adapters ask for them."""

    def __init__(self, model: Location, facts: ModelFacts) -> None:
        self._model, self._name = model, facts.name
        self._files: dict[str, list[str]] = {}
        for file in facts.files:
            if match := _WEIGHTS.fullmatch(file.path):
                self._files.setdefault(match["component"], []).append(file.path)
        self._shapes: dict[str, Shapes] = {}

    def check(self, adapter: Adapter, changes: Mapping[str, LayerChange]) -> None:
        """Refuse an adapter that changes a layer which the model does not have, or not in that size."""
        lacking = []
        for layer, change in changes.items():
            place = self._place(layer)
            if place is None:
                continue
            shape = self._shape(place)
            if shape is not None:
                self._check_size(adapter, layer, change, shape)
            elif place.is_exact and place.component in _DENOISERS:
                lacking.append(layer)
        if lacking:
            raise InvalidModel(
                f"The adapter {adapter.name!r} ({adapter.location}) is not made for the model {self._name}, which "
                f"lacks {len(lacking)} of the {len(changes)} layers that it changes ({lacking[0]}); use one that is, "
                "or leave it out."
            )

    def _check_size(self, adapter: Adapter, layer: str, change: LayerChange, shape: Shape) -> None:
        outputs, inputs = shape[:2]
        if (change.inputs, change.outputs) != (inputs, outputs):
            raise InvalidModel(
                f"The adapter {adapter.name!r} ({adapter.location}) is not made for the model {self._name}: it changes "
                f"{layer} as a layer of {change.inputs} inputs and {change.outputs} outputs, which there has {inputs} "
                f"and {outputs}; use one that is, or leave it out."
            )

    def _place(self, layer: str) -> _Place | None:
        component, dot, rest = layer.partition(".")
        if dot and component in self._files:
            return _Place(component, _flat(rest), ".processor." not in rest)
        for prefix, name in _FLAT_PREFIXES.items():
            if layer.startswith(prefix) and name in self._files:
                return _Place(name, _flat(layer.removeprefix(prefix)), False)
        return None

    def _shape(self, place: _Place) -> Shape | None:
        shapes = self._shapes_of(place.component)
        found = shapes.get(place.flat_name) or shapes.get(f"{place.flat_name}_0")  # to_out is a list of one layer
        return found if found is not None and len(found) >= 2 else None

    def _shapes_of(self, component: str) -> Shapes:
        if component not in self._shapes:
            self._shapes[component] = _read_shapes(self._model, self._files[component])
        return self._shapes[component]


def _read_shapes(model: Location, paths: Iterable[str]) -> Shapes:
    listing = list_model(model)
    shapes: dict[str, Shape] = {}
    for path in paths:
        header = check_safetensors(listing, path)
        for tensor, shape in tensor_shapes(header, f"{model}/{path}").items():
            shapes[_flat(tensor.removesuffix(".weight"))] = shape
    return shapes


def _flat(layer: str) -> str:
    """Return a layer's name with what only some spellings of it have left out."""
    return layer.replace(".processor.", ".").removeprefix("text_model.").replace(".", "_").removeprefix("text_model_")
