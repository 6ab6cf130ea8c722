"""The parameters of the generate flow, as a form shows them and a schedule stores them.

Know nothing of how a job runs; they become a plain `Job`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from blocks.clusters import ExistingDaskCluster, LocalDaskCluster
from blocks.engine import DiffusersEngine
from blocks.forms import may_be_empty
from blocks.storage import CollectionStore, ModelStore
from flows.cache_parameters import CacheParameters
from pressrun.carried import embedder_folder
from pressrun.job import Job, PromptSource, Reuse
from pressrun.location import Location
from pressrun.picture_file import PictureFormat
from pressrun.request import SCHEDULERS, RequestDefaults
from pressrun.wording import DURATION, read_duration
from workers.fleet import Fleet

PromptFile = Annotated[str, Field(title="A file")]
PromptTexts = Annotated[list[str], Field(title="Texts")]
ModelPath = Annotated[str, Field(min_length=1, title="A folder")]
PromptRows = Annotated[list[str | dict[str, Any]], Field(title="Rows")]


def _known_scheduler(name: str) -> str:
    if name not in SCHEDULERS:
        raise ValueError(f"There is no scheduler {name!r}; choose one of {', '.join(SCHEDULERS)}.")
    return name


Scheduler = Annotated[str, AfterValidator(_known_scheduler), Field(json_schema_extra={"enum": list(SCHEDULERS)})]


def _readable_duration(text: str) -> str:
    read_duration(text)
    return text


Duration = Annotated[str, AfterValidator(_readable_duration), Field(json_schema_extra={"pattern": DURATION})]


def _optional(description: str, **rest: Any) -> Any:
    return Field(None, description=description, json_schema_extra=may_be_empty, **rest)


class Precision(StrEnum):
    """Number format of the weights while drawing."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


class ImageFormat(StrEnum):
    """File format of the pictures."""

    png = "png"
    webp = "webp"
    jpeg = "jpeg"


class ReuseAs(StrEnum):
    """What becomes of pictures that another collection holds."""

    copy = "copy"
    reference = "reference"


class Layout(StrEnum):
    """How pictures stand in a collection."""

    files = "files"
    webdataset = "webdataset"


class PictureDefaults(BaseModel):
    """What a row of the prompt file that leaves a field out gets."""

    model_config = ConfigDict(extra="forbid")

    images_per_prompt: int = Field(
        1, ge=1, le=10_000, description="Pictures of every prompt, each with its own seed: 1 to 10000."
    )
    steps: int = Field(20, ge=1, le=1000, description="Denoising steps: 1 to 1000.")
    guidance_scale: float = Field(
        5.0, ge=0, le=100, description="How closely to follow the prompt: 0 to 100; 1 or less turns it off."
    )
    scheduler: Scheduler = Field("default", description="Sampler; 'default' is the model's own.")
    width: int | None = _optional("Width in pixels: 8 to 4096; empty for the model's own.", ge=8, le=4096)
    height: int | None = _optional("Height in pixels: 8 to 4096; empty for the model's own.", ge=8, le=4096)
    negative_prompt: str = Field("", description="What to steer away from.")
    adapters: str = Field(
        "", description="LoRA adapters of every prompt, as ink or ink:0.8,wash:0.5; a prompt's own 'none' is none."
    )
    seed: int | None = _optional("Seed of every prompt: 0 or more; empty derives one from each prompt's text.", ge=0)


class GenerateParameters(BaseModel):
    """What to draw, with what, into where. Running the same job again draws only what is missing."""

    model_config = ConfigDict(extra="forbid")

    prompts: PromptFile | PromptTexts | PromptRows = Field(
        description="A prompt file (CSV, TSV, JSONL, Parquet or plain text; a path or any fsspec URL), or the prompts "
        "themselves: texts, or rows, which are JSON objects with the columns of a prompt file.",
        examples=["examples/prompts.csv", "s3://studio/prompts.parquet"],
    )
    model: str = Field(
        min_length=1,
        description="Model folder in the diffusers layout: a path or URL, a path below the model store, or one of the "
        "names below. It draws the rows that name none.",
        examples=["models/shapes", "s3://studio/models/sdxl"],
    )
    models: dict[str, ModelPath | ModelStore] = Field(
        default_factory=dict,
        description="Models that rows may name in a column 'model', by name: as above, or a block whose URL is the "
        "model's folder.",
        examples=[{"ink": "s3://studio/models/ink", "photo": "s3://studio/models/photo"}],
    )
    adapters: dict[str, str | ModelStore] = Field(
        default_factory=dict,
        description='LoRA adapters that prompts may name, as {"ink": "s3://studio/adapters/ink.safetensors"}: for each '
        "a safetensors file, or a folder with one. A path or URL, a path below the model store, or a block of its own.",
        examples=[{"ink": "s3://studio/adapters/ink.safetensors"}],
    )
    output: str = Field(
        min_length=1,
        description="Where the collection goes: a path or URL, or a path below the collection store.",
        examples=["out", "s3://studio/collections/summer"],
    )
    defaults: PictureDefaults = Field(
        default_factory=PictureDefaults,
        title="Picture defaults",
        description="What a prompt gets that leaves a field out.",
    )
    embedder: str | None = Field(
        "carried",
        title="Search model",
        description="CLIP or SigLIP folder that makes the collection searchable; 'carried' is the small one that comes "
        "with Pressrun and knows coloured shapes only; 'none' for a collection that cannot be searched.",
        json_schema_extra=lambda schema: may_be_empty(schema, default="carried"),
    )
    cluster: LocalDaskCluster | ExistingDaskCluster | None = _optional(
        "Block with the workers to run on; empty starts workers on the machine that runs the flow."
    )
    model_store: ModelStore | None = _optional(
        "Block with the credentials for the model; empty for none.", title="Model store"
    )
    collection_store: CollectionStore | None = _optional(
        "Block with the credentials for the collection, and for prompt files in a bucket; empty for none.",
        title="Collection store",
    )
    reuse_from: list[str] = Field(
        default_factory=list,
        title="Reuse from",
        description="Other collections, or folders of several: a path or URL, or a path below the collection store. "
        "Pictures in them that are exactly what is asked for are taken over, not drawn.",
    )
    reuse_as: ReuseAs = Field(
        ReuseAs.copy,
        title="Reuse as",
        description="'copy' the pictures, or have the manifest refer to them where they are: 'reference' needs no "
        "space, and the pictures are lost with the other collection.",
    )
    reuse_across_tenants: bool = Field(
        False,
        title="Reuse across tenants",
        description="Take pictures over from collections of other tenants too; otherwise only of the job's own.",
    )
    tenant: str = Field(
        "",
        max_length=64,
        pattern=r"^[A-Za-z0-9._-]*$",
        description="Whose pictures these are: letters, digits and . _ - ; empty for nobody's in particular. A "
        "collection has one tenant for good.",
    )
    workers: int | None = _optional(
        "Workers to scale out to: 1 to 4096; empty for as many as are useful.", ge=1, le=4096
    )
    deadline: Duration | None = _optional(
        "Time from the opening of the run to its last picture, as 90m, 2h or 1.5h: the worker count follows, and the "
        "run is refused before it draws if that is too short; empty for none."
    )
    budget: float | None = _optional(
        "Money that the workers may cost, at the cluster's price per worker-hour: the worker count follows, and the "
        "run is refused before it draws if that is too little; empty for none.",
        ge=0,
    )
    batch_size: int | None = _optional("Pictures drawn at once: 1 to 512; empty measures the best.", ge=1, le=512)
    longest_batch_s: float | None = _optional("Seconds that a batch may take at most; empty for no limit.", gt=0)
    precision: Precision = Field(Precision.auto, description="Number format while drawing.")
    image_format: ImageFormat = Field(
        ImageFormat.png,
        description="File format of the pictures: png and webp lose nothing, webp is written several times faster; "
        "jpeg is small and loses fine detail. A collection has one.",
    )
    image_level: int | None = _optional(
        "Compression of png (0 to 9), effort of webp (0 to 6), quality of jpeg (1 to 100); empty for the best value.",
        ge=0,
        le=100,
    )
    layout: Layout = Field(
        Layout.files,
        description="How pictures stand in the collection: 'files' is an object each, 'webdataset' is tars of them.",
    )
    shard_images: int = Field(
        2000, ge=1, le=10_000, description="Pictures of one generate task, the unit of retry: 1 to 10000."
    )
    engine: str = Field("diffusers", description="'diffusers', 'null', or 'package.module:factory' of your own engine.")
    engine_options: DiffusersEngine | None = _optional(
        "Block with options of the diffusers engine, tried on a sample before the run; empty for the plain engine.",
        title="Engine options",
    )
    cache: CacheParameters = Field(
        default_factory=CacheParameters, title="Model cache", description="How models come to the hosts."
    )

    def job(self) -> Job:
        """Return the job as plain values, with the credentials of its blocks inside its locations."""
        return Job(
            prompts=self._prompts(),
            model=self._model(self.models.get(self.model, self.model)),
            models={name: self._model(model) for name, model in self.models.items()},
            collection=_place(self.collection_store, self.output),
            embedder=self._embedder(),
            defaults=self._defaults(),
            batch_size=self.batch_size,
            longest_batch_s=self.longest_batch_s,
            shard_images=self.shard_images,
            engine=self.engine,
            dtype=self.precision.value,
            workers=self.workers,
            reuse=self._reuse(),
            tenant=self.tenant,
            options=(self.engine_options or DiffusersEngine()).options(),
            quality=(self.engine_options or DiffusersEngine()).quality(),
            picture_format=PictureFormat(self.image_format.value, self.image_level),
            adapters={name: self._adapter(place) for name, place in self.adapters.items()},
            layout=self.layout.value,
            cache=self.cache.options(),
            price_per_worker_hour=getattr(self.cluster, "price_per_worker_hour", None),
            deadline_s=None if self.deadline is None else read_duration(self.deadline),
            budget=self.budget,
        )

    def fleet(self) -> Fleet:
        """Return the workers to run on, not yet open."""
        return (self.cluster or LocalDaskCluster()).fleet()

    def _model(self, model: str | ModelStore) -> Location:
        return _place(self.model_store, model) if isinstance(model, str) else model.location().absolute()

    def _prompts(self) -> PromptSource:
        if not isinstance(self.prompts, str):
            return self.prompts
        return Location(self.prompts, _options(self.collection_store) if "://" in self.prompts else {})

    def _embedder(self) -> Location | None:
        if self.embedder in (None, "", "none"):
            return None
        return Location(embedder_folder(self.embedder)).absolute()

    def _adapter(self, place: str | ModelStore) -> Location:
        if isinstance(place, ModelStore):
            return place.location().absolute()
        return _place(None if "://" in place else self.model_store, place)

    def _reuse(self) -> Reuse:
        places = tuple(_place(self.collection_store, path) for path in self.reuse_from)
        return Reuse(places, self.reuse_as.value, self.reuse_across_tenants)

    def _defaults(self) -> RequestDefaults:
        chosen = self.defaults
        return RequestDefaults(
            negative_prompt=chosen.negative_prompt,
            seed=chosen.seed,
            width_px=chosen.width,
            height_px=chosen.height,
            steps=chosen.steps,
            guidance_scale=chosen.guidance_scale,
            scheduler=chosen.scheduler,
            adapters=chosen.adapters,
            images_per_prompt=chosen.images_per_prompt,
        )


def _place(store: ModelStore | CollectionStore | None, path: str) -> Location:
    return (Location(path) if store is None else store.location(path)).absolute()


def _options(store: CollectionStore | None) -> dict[str, Any]:
    return {} if store is None else dict(store.location().options)
