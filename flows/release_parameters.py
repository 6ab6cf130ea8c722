"""The parameters of the release flow, as a form shows them and a schedule stores them.

Know nothing of how a release goes; they become a plain `ReleaseOrder`.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from blocks.clusters import ExistingDaskCluster, LocalDaskCluster
from blocks.forms import may_be_empty
from blocks.storage import CollectionStore, ModelStore
from flows.cache_parameters import CacheFolder, CacheRuntime
from flows.parameters import (
    GenerateParameters,
    PictureDefaults,
    Precision,
    PromptFile,
    PromptRows,
    PromptTexts,
)
from pressrun.cache.folders import SHARED_FOLDER
from pressrun.job import Job
from pressrun.release.release import ReleaseOrder
from pressrun.release.verdict import GoldenBudget
from workers.fleet import Fleet


def _optional(description: str, **rest: Any) -> Any:
    return Field(None, description=description, json_schema_extra=may_be_empty, **rest)


class ReleaseParameters(BaseModel):
    """Which model to release, and which pictures it has to draw like before."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(
        min_length=1,
        description="Model folder in the diffusers layout: a path or URL, or a path below the model store.",
        examples=["s3://studio/models/sdxl-v4"],
    )
    golden: str = Field(
        min_length=1,
        title="Golden set",
        description="Collection of a few pictures that the model has to draw again: a path or URL, or a path below the "
        "collection store.",
        examples=["s3://studio/golden/sdxl"],
    )
    write_golden: bool = Field(
        False,
        title="Write golden set",
        description="Where there is no golden set yet, have this model draw it from the prompts below.",
    )
    prompts: PromptFile | PromptTexts | PromptRows | None = _optional(
        "Prompts of the golden set, where it is to be written: a prompt file, texts, or rows; empty for none."
    )
    defaults: PictureDefaults = Field(
        default_factory=PictureDefaults,
        title="Picture defaults",
        description="What a prompt of the golden set gets that leaves a field out.",
    )
    least_psnr_db: float = Field(
        30.0, ge=0, le=100, title="Least PSNR (dB)", description="Of each picture; 30 is hard to see."
    )
    least_ssim: float = Field(
        0.9, ge=-1, le=1, title="Least SSIM", description="Structural similarity of each picture; equal ones have 1."
    )
    cluster: LocalDaskCluster | ExistingDaskCluster | None = _optional(
        "Block with the workers to prepare; empty starts workers on the machine that runs the flow."
    )
    model_store: ModelStore | None = _optional(
        "Block with the credentials for the model; empty for none.", title="Model store"
    )
    collection_store: CollectionStore | None = _optional(
        "Block with the credentials for the golden set; empty for none.", title="Collection store"
    )
    runtime: CacheRuntime = Field(
        CacheRuntime.peer,
        title="Cache",
        description="How the model comes to the hosts: 'peer' has hosts share what one of them has read, 'none' has "
        "every host read it for itself, 'mount' reads it once through the folder where every host has it mounted, so "
        "that the mount's own cache has it, and copies nothing.",
    )
    mounts: dict[str, str] = Field(
        default_factory=dict,
        description="For 'mount': URLs, and the folder where every host has each.",
        examples=[{"s3://studio": "/mnt/studio"}],
    )
    workers: int | None = _optional("Workers to prepare: 1 to 4096; empty for all that there can be.", ge=1, le=4096)
    precision: Precision = Field(Precision.auto, description="Number format while drawing.")
    engine: str = Field("diffusers", description="'diffusers', 'null', or 'package.module:factory' of your own engine.")
    tenant: str = Field(
        "",
        max_length=64,
        pattern=r"^[A-Za-z0-9._-]*$",
        description="Whose golden set it is, and for an exclusive cache whose cache; empty for nobody's in particular.",
    )
    exclusive: bool = Field(
        False, description="Whether the tenant has a cache of its own, which is then the one that is prepared."
    )
    cache_folder: CacheFolder = Field(
        SHARED_FOLDER, title="Cache folder", description="Where the cache lies on every host, as runs have it."
    )

    @field_validator("exclusive")
    @classmethod
    def _is_somebodys(cls, exclusive: bool, told: ValidationInfo) -> bool:
        if exclusive and not told.data.get("tenant"):
            raise ValueError("An exclusive cache is a tenant's; give the tenant, or leave this out.")
        return exclusive

    @model_validator(mode="after")
    def _has_prompts_to_write(self) -> ReleaseParameters:
        if self.write_golden and not self.prompts:
            raise ValueError("A golden set is written from prompts; give some, or do not ask for it to be written.")
        return self

    def order(self) -> ReleaseOrder:
        """Return the release as plain values, with the credentials of its blocks inside its locations."""
        job = self._job()
        return ReleaseOrder(
            model=job.model,
            golden=job.collection,
            budget=GoldenBudget(self.least_psnr_db, self.least_ssim),
            golden_job=job if self.write_golden else None,
            engine=self.engine,
            dtype=self.precision.value,
            workers=self.workers,
            cache_folder=job.models_folder,
            cache=job.cache,
        )

    def fleet(self) -> Fleet:
        """Return the workers to prepare, not yet open."""
        return (self.cluster or LocalDaskCluster()).fleet()

    def _job(self) -> Job:
        """Return the job that would draw the golden set."""
        return GenerateParameters(
            prompts=self.prompts or ["none"],
            model=self.model,
            output=self.golden,
            defaults=self.defaults,
            embedder=None,
            model_store=self.model_store,
            collection_store=self.collection_store,
            batch_size=1,
            precision=self.precision,
            engine=self.engine,
            tenant=self.tenant,
            cache={
                "runtime": self.runtime,
                "mounts": self.mounts,
                "exclusive": self.exclusive,
                "folder": self.cache_folder,
            },
        ).job()
