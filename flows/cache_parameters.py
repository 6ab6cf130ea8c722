"""How models come to the hosts, as a part of the generate flow's form.

Knows nothing of how they do; becomes plain `CacheOptions`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from blocks.forms import may_be_empty
from pressrun.cache.budget import BUDGET, read_budget
from pressrun.cache.folders import HOST_PATH, SHARED_FOLDER, read_folder
from pressrun.cache.options import CacheOptions
from pressrun.location import Location
from pressrun.wording import SIZE, read_size


def _readable_budget(text: str) -> str:
    read_budget(text)
    return text


Budget = Annotated[str, AfterValidator(_readable_budget), Field(json_schema_extra={"pattern": BUDGET})]


def _readable_size(text: str) -> str:
    read_size(text)
    return text


Size = Annotated[str, AfterValidator(_readable_size), Field(json_schema_extra={"pattern": SIZE})]
CacheFolder = Annotated[str, AfterValidator(read_folder), Field(json_schema_extra={"pattern": HOST_PATH})]


class CacheRuntime(StrEnum):
    """The way by which a remote model comes to a host."""

    peer = "peer"
    mount = "mount"
    none = "none"


class Affinity(StrEnum):
    """How firmly batches go to the workers that hold their model."""

    soft = "soft"
    hard = "hard"
    off = "off"


class CacheParameters(BaseModel):
    """How models come to the hosts, and which workers their pictures go to."""

    model_config = ConfigDict(extra="forbid")

    runtime: CacheRuntime = Field(
        CacheRuntime.peer,
        description="How a remote model comes to a host: 'peer' has hosts share what one of them has read, 'mount' "
        "uses it in place in a folder that every host has mounted, 'none' has every host read it for itself.",
    )
    mounts: dict[str, str] = Field(
        default_factory=dict,
        description="For 'mount': URLs, and the folder where every host has each, as Alluxio, JuiceFS or a CSI volume "
        "serves it.",
        examples=[{"s3://studio": "/mnt/studio"}],
    )
    affinity: Affinity = Field(
        Affinity.soft,
        description="Whether pictures go to workers that hold their model: 'soft' prefers these, 'hard' waits for them "
        "for a while, 'off' takes any.",
    )

    budget: Budget | None = Field(
        None,
        description="Disk that models may take on a host, as 200GB or 1.5TB: those used longest ago go first, and a "
        "model that is larger is refused. It holds for later runs too; 'unlimited' lifts it, empty leaves it as it is.",
        json_schema_extra=may_be_empty,
    )

    exclusive: bool = Field(
        False,
        description="Whether the tenant has a cache of its own: another folder on every host, with a token of its own "
        "between them; otherwise all tenants share one.",
    )

    memory: Size | None = Field(
        None,
        description="Memory of each host in which weights are kept during the run, as 20GB, so that its other workers "
        "load without a disk; for workers with GPUs. Empty keeps none: on a CPU the page cache does the same.",
        json_schema_extra=may_be_empty,
    )

    folder: CacheFolder = Field(
        SHARED_FOLDER,
        description="Where the cache lies on every host, as /nvme/models: a disk that is large and fast. '~' is each "
        "host's own; a tenant's own cache lies beside it.",
    )

    def options(self) -> CacheOptions:
        """Return the same as plain values, the URLs without credentials."""
        mounts = {str(Location(url)): folder for url, folder in self.mounts.items()}
        budget_bytes = None if self.budget is None else read_budget(self.budget)
        memory_bytes = None if self.memory is None else read_size(self.memory)
        return CacheOptions(
            self.runtime.value, mounts, self.affinity.value, budget_bytes, self.exclusive, memory_bytes, self.folder
        )
