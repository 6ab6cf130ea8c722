"""What a worker must know to print batches of one run.

Knows nothing of any single batch. A small value: it travels with every task.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pressrun.engine_options import EngineOptions, drawing
from pressrun.job import Dtype
from pressrun.layout import LayoutName
from pressrun.location import Location
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
    layout : str
        Where they are written: an object each ("files"), or a tar a batch ("webdataset").
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
    layout: LayoutName = "files"

    @property
    def drawing(self) -> str:
        """Number format and options, which decide how fast pictures are drawn and name a warm renderer."""
        return drawing(self.dtype, self.options)
