"""A release under way: a model that was checked, the golden set it has to draw, and what came of it so far.

Knows nothing of workers. What can be refused is refused when it is opened, before a worker is touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field

import pyarrow as pa

from pressrun.batch import Batch
from pressrun.cache.mounts import check_mounts
from pressrun.cache.options import CacheOptions
from pressrun.draft import draft_run, picture_revision
from pressrun.engine_name import check_engine
from pressrun.errors import InvalidCollection
from pressrun.job import Dtype, Job
from pressrun.ledger import Ledger
from pressrun.location import Location
from pressrun.models.diffusers_folder import ModelFacts, read_model
from pressrun.release.golden import is_begun_by, read_golden
from pressrun.release.verdict import GoldenBudget, Verdict
from pressrun.request import REQUEST_SCHEMA
from pressrun.storage import Store


@dataclass(frozen=True, slots=True)
class ReleaseOrder:
    """What a release is asked to do.

    Parameters
    ----------
    model : Location
        Folder of the new revision.
    golden : Location
        Collection of the golden pictures.
    budget : GoldenBudget
        How far each picture may be from its golden one.
    golden_job : Job or None
        Draws the golden set where there is none yet; None refuses the release then.
    engine : str
        As in `pressrun.job.Job`.
    dtype : Dtype
        Number format while drawing.
    workers : int or None
        Workers to warm; None takes all that there can be.
    cache_folder : str
        Folder on each host for models.
    cache : CacheOptions
        How the model comes to the hosts: its runtime and mounts.
    """

    model: Location
    golden: Location
    budget: GoldenBudget = field(default_factory=GoldenBudget)
    golden_job: Job | None = None
    engine: str = "diffusers"
    dtype: Dtype = "auto"
    workers: int | None = None
    cache_folder: str = "~/.cache/pressrun/models"
    cache: CacheOptions = field(default_factory=CacheOptions)

    @property
    def is_in_place(self) -> bool:
        """Whether the model is used where it lies or is mounted, so that nothing of it goes into a host's cache."""
        return self.model.is_local or self.cache.runtime == "mount"


@dataclass(frozen=True, slots=True)
class HostCache:
    """A host's cache as a release found it.

    Parameters
    ----------
    address : str
        A worker there.
    held_bytes : int
        Models that it held.
    had_revision : bool
        Whether the new revision was among them.
    budget_bytes : int or None
        What it might hold; None for no limit.
    place : str
        Names its folder, which the host's workers share.
    needed_bytes : int
        What the new revision takes there beside what it held of it.
    """

    address: str
    held_bytes: int
    had_revision: bool
    budget_bytes: int | None = None
    place: str = ""
    needed_bytes: int = 0


class Release:
    """A checked release and its account.

    Parameters
    ----------
    run_id : str
        Names it.
    order : ReleaseOrder
        What was asked.
    facts : ModelFacts
        What the new revision's folder says of itself.
    rows : pyarrow.Table
        The golden set's rows.
    requests : pyarrow.Table
        What its pictures are of, also where they are still to be drawn.
    """

    def __init__(self, run_id: str, order: ReleaseOrder, facts: ModelFacts, rows: pa.Table, requests: pa.Table) -> None:
        self.run_id = run_id
        self.order = order
        self.facts = facts
        self.rows = rows
        self.requests = requests
        self.ledger = Ledger(total=requests.num_rows)
        self.caches: tuple[HostCache, ...] = ()
        self.preloaded_bytes = 0
        self.freed_bytes = 0
        self.written = 0
        self.verdict: Verdict | None = None

    @property
    def store(self) -> Store:
        """The golden set."""
        return Store(self.order.golden)

    @property
    def size_bytes(self) -> int:
        """What the model takes in a host's cache; 0 where it is used in place."""
        return 0 if self.order.is_in_place else sum(file.size_bytes for file in self.facts.files)

    @property
    def is_accepted(self) -> bool:
        """Whether the new revision was checked and is like enough."""
        return self.verdict is not None and self.verdict.is_accepted

    @property
    def writes_golden(self) -> bool:
        """Whether the golden set is to be drawn, or its drawing to be ended."""
        job, revision = self.order.golden_job, picture_revision(self.facts, self.order.engine)
        return job is not None and is_begun_by(self.store, self.rows, revision)

    def sample(self) -> Batch:
        """Return one request of the golden set."""
        return Batch("sample", self.requests.select(REQUEST_SCHEMA.names).slice(0, 1), 1)

    def read_golden(self) -> None:
        """Take up what the golden set holds by now.

        Raises
        ------
        InvalidCollection
            When it is empty or cannot be used.
        """
        self.rows = read_golden(self.store)
        if not self.rows.num_rows:
            raise InvalidCollection(f"The golden set {self.order.golden} is empty by now; write it again.")

    def __repr__(self) -> str:
        """Return the release's id and model; never its options."""
        return f"Release({self.run_id!r}, {self.facts.name!r})"


_checked: ContextVar[Release | None] = ContextVar("checked", default=None)


@contextmanager
def checked(release: Release) -> Iterator[None]:
    """Have the same release that is opened inside the block be this one: its model is not read again."""
    token = _checked.set(release)
    try:
        yield
    finally:
        _checked.reset(token)


def open_release(order: ReleaseOrder, run_id: str) -> Release:
    """Check a release, changing nothing; inside `checked` it is taken as it is.

    Raises
    ------
    InvalidJob
        When there is no such engine, or the model lies below none of the mounts by which it is to come.
    InvalidModel
        When the model cannot be used.
    InvalidCollection
        When there is no golden set and nothing to draw it from, or it cannot be used.
    InvalidPrompts
        With every bad row of the prompts that the golden set is to be drawn from.
    """
    ready = _checked.get()
    if ready is not None and ready.order == order:
        ready.run_id = run_id
        return ready
    check_engine(order.engine)
    check_mounts(order.cache, [order.model])
    facts = read_model(order.model)
    rows = read_golden(Store(order.golden))
    if not rows.num_rows and order.golden_job is None:
        raise InvalidCollection(
            f"There is no golden set at {order.golden}: no collection, or one without pictures. Give one that "
            "`pressrun generate` made of a few prompts, or prompts to draw it from with --write-golden."
        )
    release = Release(run_id, order, facts, rows, rows)
    if release.writes_golden and order.golden_job is not None:
        release.requests = draft_run(order.golden_job).requests
    return release


@dataclass(frozen=True, slots=True)
class ReleaseSummary:
    """How a release ended.

    Parameters
    ----------
    run_id : str
        The release.
    model : str
        Where the new revision lies, without credentials.
    revision : str
        Its digest.
    accepted : bool
        Whether every golden picture was within the budget.
    pictures, over_budget : int
        Golden pictures drawn again, and those that differ more than allowed.
    least_psnr_db : float or None
        Of the least like picture; None when all are equal or none was drawn.
    least_ssim : float or None
        Of the least like picture; None when none was drawn.
    worst_prompt : str
        Its prompt.
    written : int
        Golden pictures drawn by this release.
    hosts : int
        Hosts whose caches were prepared.
    preloaded_bytes, freed_bytes : int
        Read from the origin, or through mounts, and dropped from caches at the end.
    stages : mapping of str to float
        Seconds by stage.
    """

    run_id: str
    model: str
    revision: str
    accepted: bool
    pictures: int
    over_budget: int
    least_psnr_db: float | None
    least_ssim: float | None
    worst_prompt: str
    written: int
    hosts: int
    preloaded_bytes: int
    freed_bytes: int
    stages: Mapping[str, float]

    def record(self) -> dict[str, object]:
        """Return the summary as JSON values."""
        return asdict(self)


def summarise(release: Release) -> ReleaseSummary:
    """Return how a release stands now."""
    verdict = release.verdict
    worst = verdict.worst if verdict else None
    return ReleaseSummary(
        run_id=release.run_id,
        model=str(release.order.model),
        revision=release.facts.revision,
        accepted=release.is_accepted,
        pictures=len(verdict.comparisons) if verdict else 0,
        over_budget=verdict.over_budget if verdict else 0,
        least_psnr_db=None if worst is None or worst.psnr_db == float("inf") else worst.psnr_db,
        least_ssim=worst.ssim if worst else None,
        worst_prompt=worst.prompt if worst else "",
        written=release.written,
        hosts=len(release.caches),
        preloaded_bytes=release.preloaded_bytes,
        freed_bytes=release.freed_bytes,
        stages=dict(release.ledger.stages),
    )
