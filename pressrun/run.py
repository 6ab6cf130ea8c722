"""A run: a job checked, planned, and holding the claim on its collection.

Knows nothing of clusters. Opening refuses everything that can be refused before a GPU is touched.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import pyarrow as pa

from pressrun import layout, manifest
from pressrun.collection import Identity, check_fits, check_location, join_collection
from pressrun.engine_name import check_engine
from pressrun.errors import CollectionBusy, InvalidJob
from pressrun.job import Job
from pressrun.job_models import JobModel, read_models
from pressrun.ledger import Ledger
from pressrun.library import Library, find_library
from pressrun.models.adapter_file import Adapter, revisions_of
from pressrun.models.adapter_fit import read_adapters
from pressrun.models.diffusers_folder import ModelFacts
from pressrun.models.embedder_folder import EmbedderFacts, read_embedder
from pressrun.plan import Plan, plan_requests
from pressrun.prompts.file import read_requests
from pressrun.prompts.models import RowModels
from pressrun.prompts.rules import ModelLimits
from pressrun.reuse import take_over
from pressrun.run_record import describe
from pressrun.storage import Store
from pressrun.tar_clearing import clear_tars
from pressrun.writer_claim import WriterClaim


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


class Run:
    """A planned job under way; the one writer of its collection until it is closed.

    Parameters
    ----------
    run_id : str
        Names the run in rows and folders.
    draft : Draft
        The checked job.
    plan : Plan
        What is left to do.
    claim : WriterClaim
        The acquired claim.
    """

    def __init__(self, run_id: str, draft: Draft, plan: Plan, claim: WriterClaim) -> None:
        self.run_id = run_id
        self.job = draft.job
        self.facts = draft.facts
        self.models = draft.models
        self.embedder_facts = draft.embedder_facts
        self.adapters = draft.adapters
        self.plan = plan
        self.library = draft.library
        self.store = Store(draft.job.collection)
        self.ledger = Ledger(total=plan.todo.num_rows)
        self.ledger.opened_at = draft.begun_at
        self._claim = claim
        self._is_closed = False

    @property
    def model_names(self) -> str:
        """The names of the job's models in one line, the main one's first."""
        return ", ".join(self.models) or self.facts.name

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to render."""
        return bool(self.plan.todo.num_rows == 0)

    def note(self, name: str, record: object) -> None:
        """Write one of the run's own JSON records."""
        self.store.write(layout.run(self.run_id, name), json.dumps(record, indent=2, default=str).encode())

    @property
    def holds_claim(self) -> bool:
        """Whether this run is still the one that may write."""
        return not self._claim.is_lost

    def check_claim(self) -> None:
        """Raise CollectionBusy when another run may write to the collection: this one seemed dead, or was closed."""
        if self._is_closed or not self.holds_claim:
            raise CollectionBusy(
                f"Run {self.run_id} gave no sign of life for too long, so that another may have taken "
                f"{self.store.location} over; what was finished is kept, run the job again when no other run is "
                "at work there."
            )

    def close(self) -> None:
        """Remove temporary objects and give the collection free; closing again does nothing."""
        try:
            if self.holds_claim:  # else the temporary objects are another run's
                self.store.sweep()
        finally:
            self._is_closed = True
            self._claim.release()

    def __repr__(self) -> str:
        """Return the run's id and size; never its options."""
        return f"Run({self.run_id!r}, {self.plan.todo.num_rows} images to do)"


def draft_run(job: Job) -> Draft:
    """Check a job, changing nothing.

    Raises
    ------
    InvalidJob
        When there is no such engine, a budget and no price, a name that means two models, or a collection named for
        reuse that does not fit.
    InvalidModel
        When the model or the embedder cannot be used.
    InvalidPrompts
        With every bad row.
    InvalidCollection
        When the collection's location holds something else, cannot be written to, or was embedded by another model.
    """
    begun_at = time.monotonic()
    check_engine(job.engine)
    _check_terms(job)
    check_location(Store(job.collection))
    models = read_models(job)
    embedder_facts = read_embedder(job.embedder) if job.embedder is not None else None
    adapters = read_adapters(job.adapters, {name: (model.location, model.facts) for name, model in models.items()})
    identity = _identity(embedder_facts, job)
    check_fits(Store(job.collection), identity)
    library = find_library(job.reuse, identity, job.collection)
    requests = read_requests(job.prompts, job.defaults, _row_models(models, adapters, job.engine))
    main = next(iter(models.values())).facts
    return Draft(job, main, embedder_facts, requests, begun_at, adapters, library, models)


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


def open_run(job: Job, run_id: str) -> Run:
    """Check and plan a job, claim its collection, and clear up what a killed run left there.

    Inside `drafted`, the same job's draft is taken as it is; what the collection holds is looked up under the claim
    either way.

    Raises
    ------
    CollectionBusy
        When another run writes to the collection.
    PressrunError
        Whatever `draft_run` and `join_collection` refuse.
    """
    draft = _drafted.get()
    if draft is None or draft.job != job:
        draft = draft_run(job)
    store = Store(job.collection)
    claim = WriterClaim(store, run_id)
    claim.acquire()
    try:
        join_collection(store, _identity(draft.embedder_facts, job))
        store.sweep()
        manifest.compact_leftovers(store)
        clear_tars(store)
        reused = take_over(store, draft.library.collections, draft.requests, run_id, job.reuse.how)
        run = Run(run_id, draft, draft.plan(), claim)
        run.ledger.reused = reused
        manifest.write_large(run.store, layout.run(run_id, "plan.parquet"), draft.requests)
        run.note("job.json", describe(run))
    except BaseException:
        claim.release()
        raise
    return run


def _check_terms(job: Job) -> None:
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
