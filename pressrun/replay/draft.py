"""A replay checked before anything is started: its sample, its batches, and the models that drew the pictures.

Knows nothing of workers. What can be refused is refused here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, cast

from pressrun import layout
from pressrun.collection import read_identity
from pressrun.engine_options import EngineOptions
from pressrun.errors import InvalidCollection, InvalidModel
from pressrun.job import Dtype
from pressrun.location import Location
from pressrun.models.adapter_file import Adapter
from pressrun.models.diffusers_folder import ModelFacts, read_model
from pressrun.replay.adapters import find_adapters
from pressrun.replay.likeness import Provenance
from pressrun.replay.placing import Placing, arrange
from pressrun.replay.sample import Sample, draw_sample
from pressrun.storage import Store

_AS_RECORDED: Mapping[str, Location] = MappingProxyType({})
_DTYPES = ("fp32", "bf16", "fp16")


@dataclass(frozen=True, slots=True)
class Model:
    """A model where it is now.

    Parameters
    ----------
    location : Location
        Its folder.
    facts : ModelFacts
        What the folder says of itself.
    """

    location: Location
    facts: ModelFacts


@dataclass(frozen=True, slots=True)
class Setting:
    """How the pictures of a placing were drawn, as far as it can be chosen again.

    Parameters
    ----------
    model : Model
        The weights.
    engine : str
        As in `pressrun.job.Job`.
    dtype : Dtype
        Number format; "auto" for an engine that names none.
    threads : int or None
        Threads of torch; None for an engine that does without it.
    options : EngineOptions
        What the engine traded.
    adapters : tuple of Adapter
        Those that sampled pictures of the same run use.
    """

    model: Model
    engine: str
    dtype: Dtype
    threads: int | None
    options: EngineOptions = field(default_factory=EngineOptions)
    adapters: tuple[Adapter, ...] = ()


@dataclass(frozen=True, slots=True)
class ReplayDraft:
    """A replay that was checked, with nothing started.

    Parameters
    ----------
    collection : Location
        Whose pictures are drawn again.
    placings : tuple of (Placing, Setting)
        The batches to draw, and how.
    seed : int
        Of the sample.
    """

    collection: Location
    placings: tuple[tuple[Placing, Setting], ...]
    seed: int


def draft_replay(
    collection: Location,
    count: int,
    seed: int,
    models: Sequence[Location] = (),
    adapters: Mapping[str, Location] = _AS_RECORDED,
) -> ReplayDraft:
    """Check a replay, changing nothing.

    Parameters
    ----------
    collection : Location
        Whose pictures to draw again.
    count : int
        Pictures wanted, 1 or more.
    seed : int
        Decides which, and with which companions; 0 .. 2**63-1.
    models : sequence of Location
        Where the models are now; none asks the records of the runs that made the pictures.
    adapters : mapping
        Where adapters are now, by name; those left out are where the records say.

    Raises
    ------
    InvalidCollection
        When there is no collection, or no picture in it.
    InvalidModel
        When a model or an adapter cannot be found, or is not the one that drew the pictures.
    """
    store = Store(collection)
    read_identity(store)
    sample = draw_sample(store, count, seed)
    records = {run_id: _record(store, run_id) for run_id in _distinct(sample, "run_id")}
    found = _find_models(store, sample, models or _locations(store, records, set(_distinct(sample, "model_revision"))))
    used = find_adapters(sample.rows, records, adapters)
    # Models one after the other: memory may have room for one only.
    in_order = sorted(arrange(sample, seed), key=lambda placing: placing.shared("model_revision"))
    placings = [(placing, _setting(placing, found, records)) for placing in in_order]
    with_adapters = [
        (placing, replace(how, adapters=used[placing.shared("run_id"), placing.shared("model_revision")]))
        for placing, how in placings
    ]
    return ReplayDraft(collection, tuple(with_adapters), seed)


def _record(store: Store, run_id: str) -> dict[str, Any]:
    try:
        return store.read_record(layout.run(run_id, "job.json"))
    except FileNotFoundError:
        return {}


def _locations(store: Store, records: Mapping[str, Mapping[str, Any]], wanted: set[str]) -> list[Location]:
    """Return where the runs found the models of some revisions."""
    urls: dict[str, None] = {}
    for run_id, record in records.items():
        if "model" not in record:
            raise InvalidModel(
                f"{layout.run(run_id, 'job.json')} in {store.location} does not say which model drew the pictures of "
                "that run; give it with --model."
            )
        models = record.get("models") or [record["model"]]
        urls |= {model["location"]: None for model in models if model.get("revision") in {None, *wanted}}
    return [Location(url) for url in urls]


def _find_models(store: Store, sample: Sample, locations: Sequence[Location]) -> dict[str, Model]:
    """Return every model that drew a picture of the sample, by revision."""
    found = {model.facts.revision: model for model in map(_read, locations)}
    wanted = Counter(sample.rows.column("model_revision").to_pylist())
    for revision, pictures in wanted.items():
        if revision not in found:
            others = (
                ", ".join(f"{model.location} has {other[:12]}" for other, model in found.items()) or "no run had it"
            )
            raise InvalidModel(
                f"{pictures} of {wanted.total()} sampled pictures of {store.location} were drawn by model revision "
                f"{revision[:12]}, but {others}; give the folder with those weights with --model."
            )
    return found


def _read(location: Location) -> Model:
    try:
        return Model(location, read_model(location))
    except InvalidModel as error:
        raise InvalidModel(f"{error} It should hold the model that drew the pictures; give it with --model.") from error


def _setting(placing: Placing, models: Mapping[str, Model], records: Mapping[str, Mapping[str, Any]]) -> Setting:
    then = _provenance(placing)
    dtype, threads, record = then.get("dtype"), then.get("threads"), records[placing.shared("run_id")]
    return Setting(
        model=models[placing.shared("model_revision")],
        engine=record.get("engine", str(then.get("engine"))),
        dtype=cast("Dtype", dtype) if dtype in _DTYPES else "auto",
        threads=threads if "torch" in then and isinstance(threads, int) else None,
        options=EngineOptions.from_label(str(then.get("options", ""))),  # pictures taken over are of another run's
    )


def _provenance(placing: Placing) -> Provenance:
    try:
        record = json.loads(placing.shared("provenance"))
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise InvalidCollection(
            f"The provenance of {placing.shared('path')} in the manifest is {placing.shared('provenance')!r}, not a "
            "JSON object, so it cannot be drawn again as it was; verify the collection."
        )
    return record


def _distinct(sample: Sample, name: str) -> list[str]:
    return list(dict.fromkeys(sample.rows.column(name).to_pylist()))
