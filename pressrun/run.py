"""A run: a job checked, planned, and holding the claim on its collection.

Knows nothing of clusters. Opening refuses everything that can be refused before a GPU is touched.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

import pyarrow as pa

from pressrun import layout, manifest
from pressrun.collection import Identity, check_fits, check_location, join_collection
from pressrun.engine_name import check_engine
from pressrun.errors import CollectionBusy, InvalidJob
from pressrun.job import Job
from pressrun.ledger import Ledger
from pressrun.location import Location
from pressrun.models.diffusers_folder import ModelFacts, read_model
from pressrun.models.embedder_folder import EmbedderFacts, read_embedder
from pressrun.plan import Plan, plan_requests
from pressrun.prompts.file import read_requests
from pressrun.prompts.rules import ModelLimits
from pressrun.reuse import check_library, take_over
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
        The model.
    embedder_facts : EmbedderFacts or None
        The embedder.
    requests : pyarrow.Table
        Every request, with its image id.
    """

    job: Job
    facts: ModelFacts
    embedder_facts: EmbedderFacts | None
    requests: pa.Table

    def plan(self) -> Plan:
        """Return what the collection does not hold yet."""
        return plan_requests(self.requests, manifest.held_images(Store(self.job.collection)))


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
        self.embedder_facts = draft.embedder_facts
        self.plan = plan
        self.store = Store(draft.job.collection)
        self.ledger = Ledger(total=plan.todo.num_rows)
        self._claim = claim
        self._is_closed = False

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
        When there is no such engine, or a budget and no price.
    InvalidModel
        When the model or the embedder cannot be used.
    InvalidPrompts
        With every bad row.
    InvalidCollection
        When the collection's location holds something else, cannot be written to, or was embedded by another model.
    """
    check_engine(job.engine)
    _check_terms(job)
    check_location(Store(job.collection))
    facts = read_model(job.model)
    embedder_facts = read_embedder(job.embedder) if job.embedder is not None else None
    identity = _identity(embedder_facts, job)
    check_fits(Store(job.collection), identity)
    for place in job.libraries:
        check_library(Store(place), identity)
    limits = ModelLimits(
        width_px=facts.width_px,
        height_px=facts.height_px,
        size_multiple_px=facts.size_multiple_px,
        flow_matching=facts.flow_matching,
    )
    requests = read_requests(job.prompts, job.defaults, limits, picture_revision(facts, job.engine))
    return Draft(job, facts, embedder_facts, requests)


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

    Raises
    ------
    CollectionBusy
        When another run writes to the collection.
    PressrunError
        Whatever `draft_run` and `join_collection` refuse.
    """
    draft = draft_run(job)
    store = Store(job.collection)
    claim = WriterClaim(store, run_id)
    claim.acquire()
    try:
        join_collection(store, _identity(draft.embedder_facts, job))
        store.sweep()
        manifest.compact_leftovers(store)
        clear_tars(store)
        reused = sum(take_over(store, Store(place), draft.requests, run_id) for place in job.libraries)
        run = Run(run_id, draft, draft.plan(), claim)
        run.ledger.reused = reused
        manifest.write_large(run.store, layout.run(run_id, "plan.parquet"), draft.requests)
        run.note("job.json", _describe(run))
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


def _identity(embedder: EmbedderFacts | None, job: Job) -> Identity:
    revision, dimension = (embedder.revision, embedder.dimension) if embedder else ("", 0)
    return Identity(revision, dimension, job.picture_format.ending, job.layout)


def _describe(run: Run) -> dict[str, object]:
    job = run.job
    return {
        "run_id": run.run_id,
        "prompts": str(job.prompts) if isinstance(job.prompts, Location) else f"a list of {len(job.prompts)}",
        "model": {"location": str(job.model), "name": run.facts.name, "revision": run.facts.revision},
        "embedder": str(job.embedder) if job.embedder else None,
        "collection": str(job.collection),
        "defaults": asdict(job.defaults),
        "batch_size": job.batch_size,
        "engine": job.engine,
        "dtype": job.dtype,
        "options": asdict(job.options),
        "picture_format": asdict(job.picture_format),
        "layout": job.layout,
        "deadline_s": job.deadline_s,
        "budget": job.budget,
        "price_per_worker_hour": job.price_per_worker_hour,
        "requested": run.plan.requests.num_rows,
        "duplicates": run.plan.duplicates,
        "held": run.plan.held,
        "reused": run.ledger.reused,
        "todo": run.plan.todo.num_rows,
    }
