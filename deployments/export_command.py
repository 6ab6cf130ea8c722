"""`pressrun export`: a collection in the layouts that other tools read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.text import Text

from deployments.console import ExitCode, err, out
from deployments.live_progress import LiveProgress
from pressrun.location import Location
from pressrun.progress import listening
from pressrun.storage import Store

if TYPE_CHECKING:  # brings Arrow's Parquet, which `pressrun --help` need not wait for
    from pressrun.export.export import ExportSummary
    from pressrun.export.options import ExportOptions

_MB = 1_000_000


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class ExportChoice:
    """What to write, and how.

    Parameters
    ----------
    format : str
        "webdataset": tar shards; "imagefolder": picture files and metadata.jsonl, as Hugging Face reads them;
        "parquet": Parquet files with the pictures inside.
    where : sequence of str
        What every image must fulfil, as "width_px=64", "prompt~star", "seed>=10" or "extra.campaign=summer"; may be
        given several times.
    images : bool
        Whether the pictures go along; only Parquet can do without.
    embeddings : bool
        Whether the embeddings go along.
    shard_images : int
        Pictures of a tar shard or Parquet file at most; 10,000 when left out.
    shard_mb : float
        Megabytes of its pictures at most; 500 when left out.
    """

    format: Annotated[Literal["webdataset", "imagefolder", "parquet"], Parameter(alias="-f")]
    where: Annotated[tuple[str, ...], Parameter(alias="-w", negative="")] = ()
    images: bool = True
    embeddings: Annotated[bool, Parameter(negative="")] = False
    shard_images: int | None = None
    shard_mb: float | None = None


def export(
    collection: str,
    destination: str,
    options: ExportChoice,
    *,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> ExitCode:
    """Write a collection's images as WebDataset shards, a Hugging Face image folder, or Parquet files.

    Every picture's hash is checked on the way. Running the same command again finishes what was interrupted, and the
    same images always make the same bytes.

    Parameters
    ----------
    collection : str
        Folder or URL of a collection.
    destination : str
        New or empty folder or URL.
    options : ExportChoice
        What to write, and how.
    as_json : bool
        Print what stands there as JSON.
    """
    from pressrun.export.export import export_collection

    with LiveProgress(err) as progress, listening(progress):
        summary = export_collection(Store(Location(collection)), Store(Location(destination)), _chosen(options))
    if as_json:
        out.print_json(json.dumps(summary.record()))
    else:
        _show(summary)
    return ExitCode.DONE


def _chosen(options: ExportChoice) -> ExportOptions:
    from pressrun.export.options import ExportOptions, Format

    return ExportOptions(
        Format(options.format),
        where=options.where,
        pictures=options.images,
        embeddings=options.embeddings,
        shard_images=options.shard_images,
        shard_bytes=None if options.shard_mb is None else round(options.shard_mb * _MB),
    )


def _show(summary: ExportSummary) -> None:
    out.print(
        f"[bold green]exported[/]: {summary.images} images as {summary.format}, "
        f"{summary.picture_bytes / _MB:.1f} MB of pictures; {summary.files_written} files written, "
        f"{summary.files_held} there before",
        highlight=False,
        soft_wrap=True,
    )
    out.print(Text(f"  {summary.destination}"), soft_wrap=True)
