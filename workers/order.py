"""What a worker must know to print batches of one run.

Knows nothing of any single batch. A small value: it travels with every task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pressrun.adapter_use import used_revisions
from pressrun.batch import Batch
from pressrun.cache.options import CacheOptions
from pressrun.engine_options import EngineOptions, drawing
from pressrun.job import Dtype
from pressrun.layout import LayoutName
from pressrun.location import Location
from pressrun.models.adapter_file import Adapter, revisions_of
from pressrun.models.diffusers_folder import ModelFacts
from pressrun.models.embedder_folder import EmbedderFacts
from pressrun.picture_file import PictureFormat


@dataclass(frozen=True, slots=True)
class PrintOrder:
    """A run's standing instructions to its workers.

    Parameters
    ----------
    run_id : str
        The run; rows and dead letters name it.
    collection : Location
        Where pictures and receipts go.
    model : Location
        Where the weights come from.
    facts : ModelFacts
        What the model's folder says of itself.
    embedder : Location or None
        CLIP or SigLIP folder that embeds the pictures; None leaves them without embeddings.
    embedder_facts : EmbedderFacts or None
        The embedder's listing.
    embedding_size : int
        Length of an embedding; 0 without an embedder.
    engine : str
        "diffusers", "null", or "package.module:factory" of a callable that takes this order and returns a Renderer.
    dtype : Dtype
        Number format while drawing.
    cache_folder : str
        Folder on each host for copies of remote models.
    options : EngineOptions
        What the engine trades.
    picture_format : PictureFormat
        How pictures are written.
    adapters : tuple of Adapter
        LoRA adapters that the run's requests use.
    others : mapping of str to PrintOrder
        The orders for a job's other models, by name, and alike in all but model, facts and options.
    layout : str
        Where they are written: an object each ("files"), or a tar a batch ("webdataset").
    cache : CacheOptions
        How remote models come to a host, and which workers batches go to.
    """

    run_id: str
    collection: Location
    model: Location
    facts: ModelFacts
    embedder: Location | None
    embedder_facts: EmbedderFacts | None
    embedding_size: int
    engine: str = "diffusers"
    dtype: Dtype = "auto"
    cache_folder: str = "~/.cache/pressrun/models"
    options: EngineOptions = field(default_factory=EngineOptions)
    picture_format: PictureFormat = field(default_factory=PictureFormat)
    adapters: tuple[Adapter, ...] = ()
    others: Mapping[str, PrintOrder] = field(default_factory=dict)
    layout: LayoutName = "files"
    cache: CacheOptions = field(default_factory=CacheOptions)

    @property
    def drawing(self) -> str:
        """Number format and options, which decide how fast pictures are drawn and name a warm renderer."""
        return drawing(self.dtype, self.options)

    @property
    def weight_bytes(self) -> int:
        """What a renderer for this order keeps in memory: the model's weights and the adapters'."""
        return self.facts.weight_bytes + sum(adapter.weight_bytes for adapter in self.adapters)

    def provenance_of(self, adapters: str) -> dict[str, str]:
        """Return what a row's provenance says of the adapters that its request uses; nothing where it uses none."""
        used = used_revisions(adapters, revisions_of(self.adapters))
        return {"adapters": used} if used else {}

    def of(self, model: str) -> PrintOrder:
        """Return the order for pictures of one model, by which alone a batch is printed."""
        if not self.others:
            return self
        return self.others[model] if model in self.others else replace(self, others={})

    def for_batch(self, batch: Batch) -> PrintOrder:
        """Return the order to print a batch by: that of its model."""
        return self.of(str(batch.shared("model"))) if self.others else self

    def with_models(self, orders: Mapping[str, PrintOrder]) -> PrintOrder:
        """Return the order with those of some models put in their place."""
        main = orders.get(self.facts.name, self)
        others = {name: order for name, order in {**self.others, **orders}.items() if name != self.facts.name}
        return replace(main, others=others)
