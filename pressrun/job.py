"""A job as plain values: what to draw, with what, into where.

Knows nothing of Prefect, forms or command lines; those make jobs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pressrun.cache.folders import tenants_own
from pressrun.cache.options import CacheOptions
from pressrun.engine_options import EngineOptions, QualityBudget
from pressrun.layout import LayoutName
from pressrun.location import Location
from pressrun.picture_file import PictureFormat
from pressrun.request import RequestDefaults

Dtype = Literal["auto", "fp32", "bf16", "fp16"]
HowReused = Literal["copy", "reference"]
PromptSource = Location | Sequence[str | Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Reuse:
    """Where pictures that exist are taken over from, and how.

    Parameters
    ----------
    places : tuple of Location
        Other collections, or folders of several.
    how : str
        "copy" the pictures, or have rows refer to them where they are ("reference").
    across_tenants : bool
        Whether collections of other tenants are asked too.
    """

    places: tuple[Location, ...] = ()
    how: HowReused = "copy"
    across_tenants: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that a run is asked to do.

    Parameters
    ----------
    prompts : Location or sequence
        A prompt file, or prompts as text or as mappings of request fields.
    model : Location
        Folder in the diffusers layout; the model of rows that name none.
    collection : Location
        Where the pictures go.
    embedder : Location or None
        CLIP or SigLIP folder; None makes a collection that cannot be searched.
    defaults : RequestDefaults
        What a row that leaves a field out gets.
    batch_size : int or None
        Pictures rendered at once; None measures it.
    longest_batch_s : float or None
        Seconds that a batch of a measured size may take at most; None sets no limit.
    shard_images : int
        Images of one generate task, which is what is retried.
    engine : str
        "diffusers", "null" or "package.module:factory".
    dtype : Dtype
        Number format while drawing; "auto" takes what suits the device.
    workers : int or None
        Workers to scale out to; None takes as many as are useful.
    price_per_worker_hour : float or None
        Money a worker costs an hour.
    deadline_s : float or None
        Seconds from the opening of the run by which the last picture must be there; the worker count follows.
    budget : float or None
        Money that the workers may cost; the worker count follows.
    cache_folder : str
        Folder on each host for remembered measurements.
    options : EngineOptions
        What the engine trades.
    quality : QualityBudget
        How far pictures may be from the plain engine's.
    reuse : Reuse
        Other collections, whose pictures are taken over where they are exactly what is asked for.
    tenant : str
        Whose pictures these are; "" for nobody's in particular.
    picture_format : PictureFormat
        How pictures are written.
    adapters : mapping
        LoRA adapters by name: a safetensors file each, or a folder that holds one.
    models : mapping of str to Location
        Models that rows may name, by name; the main model can be among them.
    layout : str
        Where they are written: an object each ("files"), or into tars ("webdataset").
    cache : CacheOptions
        How remote models come to the hosts, and which workers batches go to.
    """

    prompts: PromptSource = field(repr=False)
    model: Location
    collection: Location
    embedder: Location | None
    defaults: RequestDefaults = field(default_factory=RequestDefaults)
    batch_size: int | None = None
    longest_batch_s: float | None = None
    shard_images: int = 2000
    engine: str = "diffusers"
    dtype: Dtype = "auto"
    workers: int | None = None
    price_per_worker_hour: float | None = None
    deadline_s: float | None = None
    budget: float | None = None
    cache_folder: str = "~/.cache/pressrun"
    options: EngineOptions = field(default_factory=EngineOptions)
    quality: QualityBudget = field(default_factory=QualityBudget)
    reuse: Reuse = field(default_factory=Reuse)
    tenant: str = ""
    picture_format: PictureFormat = field(default_factory=PictureFormat)
    adapters: Mapping[str, Location] = field(default_factory=dict)
    models: Mapping[str, Location] = field(default_factory=dict)
    layout: LayoutName = "files"
    cache: CacheOptions = field(default_factory=CacheOptions)

    @property
    def models_folder(self) -> str:
        """Folder on each host for remote models: the one that tenants share, or the tenant's own."""
        return tenants_own(self.cache.folder, self.tenant) if self.cache.exclusive else self.cache.folder

    @property
    def has_terms(self) -> bool:
        """Whether there is a deadline or a budget, so that the job runs only on a quote that meets it."""
        return self.deadline_s is not None or self.budget is not None

    @property
    def keeps_batch_size(self) -> bool:
        """Whether every batch has the full size: it was given, or each size would be compiled anew."""
        return self.batch_size is not None or self.options.compile
