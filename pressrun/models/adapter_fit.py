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


def read_adapters(
    places: Mapping[str, Location], models: Mapping[str, tuple[Location, ModelFacts]]
) -> dict[str, tuple[Adapter, ...]]:
    """Read a job's adapters, and refuse those that are made for none of its models.

    Parameters
    ----------
    places : mapping
        Where each adapter is, by name.
    models : mapping
        Each model's folder and what was read there, by name; one at least.

    Returns
    -------
    dict of str to tuple of Adapter
        For each model the adapters that fit it, sorted by name.

    Raises
    ------
    InvalidJob
        If a name cannot be one.
    InvalidModel
        If an adapter cannot be read, is none, or changes layers that no model has in that size.
    """
    fitting: dict[str, tuple[Adapter, ...]] = dict.fromkeys(models, ())
    layers = {name: _Layers(*model) for name, model in models.items()}
    for adapter, changes in [read_adapter(name, places[name]) for name in sorted(places)]:
        misfits = {name: of_model.misfit(adapter, changes) for name, of_model in layers.items()}
        if all(misfits.values()):
            raise InvalidModel(next(iter(misfits.values())))
        fitting |= {name: (*fitting[name], adapter) for name, misfit in misfits.items() if not misfit}
    return fitting


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

    def misfit(self, adapter: Adapter, changes: Mapping[str, LayerChange]) -> str:
        """Return why an adapter is not made for the model; "" when it is, as far as names tell."""
        lacking = []
        for layer, change in changes.items():
            place = self._place(layer)
            if place is None:
                continue
            shape = self._shape(place)
            if shape is None:
                lacking += [layer] if place.is_exact and place.component in _DENOISERS else []
            elif shape[:2] != (change.outputs, change.inputs):
                return (
                    f"{self._not_for(adapter)}: it changes {layer} as a layer of {change.inputs} inputs and "
                    f"{change.outputs} outputs, which there has {shape[1]} and {shape[0]}; use one that is, or leave "
                    "it out."
                )
        if not lacking:
            return ""
        return (
            f"{self._not_for(adapter)}, which lacks {len(lacking)} of the {len(changes)} layers that it changes "
            f"({lacking[0]}); use one that is, or leave it out."
        )

    def _not_for(self, adapter: Adapter) -> str:
        return f"The adapter {adapter.name!r} ({adapter.location}) is not made for the model {self._name}"

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
