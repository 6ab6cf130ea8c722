"""A job checked: whatever can be refused before a GPU is touched is refused here, and nothing is changed.

Knows nothing of runs.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import pyarrow as pa

from pressrun import manifest
from pressrun.cache.budget import check_budget
from pressrun.cache.mounts import check_mounts
from pressrun.collection import Identity, check_fits, check_location
from pressrun.engine_name import check_engine
from pressrun.errors import InvalidJob
from pressrun.job import Job
from pressrun.job_models import JobModel, read_models
from pressrun.library import Library, find_library
from pressrun.location import Location
from pressrun.models.adapter_file import Adapter, revisions_of
from pressrun.models.adapter_fit import read_adapters
from pressrun.models.any_folder import AnyFacts
from pressrun.models.diffusers_folder import ModelFacts
from pressrun.models.embedder_folder import EmbedderFacts, read_embedder
from pressrun.plan import Plan, plan_requests
from pressrun.prompts.file import read_requests
from pressrun.prompts.models import RowModels
from pressrun.prompts.rules import ModelLimits
from pressrun.storage import Store


@dataclass(frozen=True, slots=True)
class Draft:
    """A job that was checked, with nothing claimed or written.

    Parameters
    ----------
    job : Job
        What was asked.
    facts : ModelFacts
        The main model.
    embedder_facts : EmbedderFacts or None
        The embedder.
    requests : pyarrow.Table
        Every request, with its image id.
    begun_at : float
        Monotonic seconds when checking began.
    adapters : mapping of str to tuple of Adapter
        For each model by name the adapters that fit it, whether a request uses them or not.
    library : Library
        The collections to take pictures over from.
    models : mapping of str to JobModel
        Every model by name, the main one first.
    """

    job: Job
    facts: ModelFacts
    embedder_facts: EmbedderFacts | None
    requests: pa.Table
    begun_at: float
    adapters: Mapping[str, tuple[Adapter, ...]] = field(default_factory=dict)
    library: Library = field(default_factory=Library)
    models: Mapping[str, JobModel] = field(default_factory=dict)

    @property
    def identity(self) -> Identity:
        """What the collection has to be like."""
        return _identity(self.embedder_facts, self.job)

    def plan(self) -> Plan:
        """Return what the collection does not hold yet."""
        return plan_requests(self.requests, manifest.held_images(Store(self.job.collection)))

    def foresee(self) -> Plan:
        """Return what will be left to render after pictures are taken over, if those are all sound."""
        places = [self.job.collection, *self.library.collections]
        return plan_requests(self.requests, manifest.held_images(*map(Store, places)))


_drafted: ContextVar[Draft | None] = ContextVar("drafted", default=None)


@contextmanager
def drafted(draft: Draft) -> Iterator[None]:
    """Have a run of the draft's job that is opened inside the block take this draft: prompts are not read again."""
    token = _drafted.set(draft)
    try:
        yield
    finally:
        _drafted.reset(token)


def draft_of(job: Job) -> Draft:
    """Return the draft that `drafted` has ready for this very job, else a new one."""
    ready = _drafted.get()
    return ready if ready is not None and ready.job == job else draft_run(job)


def draft_run(job: Job) -> Draft:
    """Check a job, changing nothing.

    Raises
    ------
    InvalidJob
        When there is no such engine, a budget and no price, an exclusive cache and no tenant, a name that means two
        models, a model without its mount, or a collection named for reuse that does not fit.
    InvalidModel
        When the model or the embedder cannot be used, or one of them is larger than the cache's budget.
    InvalidPrompts
        With every bad row.
    InvalidCollection
        When the collection's location holds something else, cannot be written to, or was embedded by another model.
    """
    begun_at = time.monotonic()
    check_engine(job.engine)
    _check_terms(job)
    check_mounts(job.cache, _weights(job))
    check_location(Store(job.collection))
    models = read_models(job)
    embedder_facts = read_embedder(job.embedder) if job.embedder is not None else None
    adapters = read_adapters(job.adapters, {name: (model.location, model.facts) for name, model in models.items()})
    check_budget(job.cache, _read(models, embedder_facts, job.embedder, adapters))
    identity = _identity(embedder_facts, job)
    check_fits(Store(job.collection), identity)
    library = find_library(job.reuse, identity, job.collection)
    requests = read_requests(job.prompts, job.defaults, _row_models(models, adapters, job.engine))
    main = next(iter(models.values())).facts
    return Draft(job, main, embedder_facts, requests, begun_at, adapters, library, models)


def _weights(job: Job) -> list[Location]:
    embedder = [job.embedder] if job.embedder is not None else []
    return [job.model, *job.models.values(), *job.adapters.values(), *embedder]


def _read(
    models: Mapping[str, JobModel],
    embedder_facts: EmbedderFacts | None,
    embedder: Location | None,
    adapters: Mapping[str, tuple[Adapter, ...]],
) -> Iterator[tuple[Location, AnyFacts]]:
    yield from ((model.location, model.facts) for model in models.values())
    yield from ((adapter.location, adapter) for fitting in adapters.values() for adapter in fitting)
    if embedder is not None and embedder_facts is not None:
        yield embedder, embedder_facts


def _row_models(models: Mapping[str, JobModel], adapters: Mapping[str, tuple[Adapter, ...]], engine: str) -> RowModels:
    limits = {
        name: ModelLimits(
            width_px=model.facts.width_px,
            height_px=model.facts.height_px,
            size_multiple_px=model.facts.size_multiple_px,
            flow_matching=model.facts.flow_matching,
            adapters=tuple(adapter.name for adapter in adapters[name]),
        )
        for name, model in models.items()
    }
    return RowModels(
        limits,
        {name: picture_revision(model.facts, engine) for name, model in models.items()},
        {name: revisions_of(fitting) for name, fitting in adapters.items()},
    )


def picture_revision(facts: ModelFacts, engine: str) -> str:
    """Return what stands for the weights in picture ids and measurements.

    Another engine draws other pictures from the same weights, and at another speed. The number format is left out on
    purpose: it moves the lowest bits only, and the rows record it.
    """
    if engine == "diffusers":
        return facts.revision
    return hashlib.blake2b(f"{engine}\0{facts.revision}".encode(), digest_size=16).hexdigest()


def _check_terms(job: Job) -> None:
    if job.cache.exclusive and not job.tenant:
        raise InvalidJob("An exclusive cache is a tenant's; give the tenant, or leave --cache-exclusive out.")
    if job.budget is not None and job.price_per_worker_hour is None:
        raise InvalidJob(
            f"A budget of {job.budget:g} says nothing without a price; give the price of a worker-hour as well, in the "
            "cluster block or with --price."
        )
    unsteady = [name for name in ("compile", "quantization") if name in job.options.chosen]
    if job.adapters and unsteady:
        raise InvalidJob(
            f"Adapters do not go with the engine option {unsteady[0]}: switching between them would have pictures "
            "depend on what was drawn before; leave one of the two out."
        )


def _identity(embedder: EmbedderFacts | None, job: Job) -> Identity:
    revision, dimension = (embedder.revision, embedder.dimension) if embedder else ("", 0)
    return Identity(revision, dimension, job.picture_format.ending, job.tenant, job.layout)
