"""An export from beginning to end: choose the rows, check the destination, write, mark as complete.

Knows nothing of the command line. Every picture that goes out was hashed on the way and is what the manifest says.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from pressrun.errors import ExportFailed
from pressrun.export.destination import Destination, check_destination, opened
from pressrun.export.imagefolder import write_imagefolder
from pressrun.export.options import ExportOptions, Format
from pressrun.export.parquet import write_parquet
from pressrun.export.selection import Selection, selected
from pressrun.export.webdataset import write_webdataset
from pressrun.progress import News, tell
from pressrun.storage import Store


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What stands at the destination after an export.

    Parameters
    ----------
    format : str
        The layout.
    destination : str
        Where it is, without credentials.
    images : int
        Rows, each with its picture unless they were left out.
    picture_bytes : int
        Size of the pictures; 0 when they were left out.
    files_written, files_held : int
        Files written now, and files that were there already.
    digest : str
        The same for the same rows and options.
    """

    format: str
    destination: str
    images: int
    picture_bytes: int
    files_written: int
    files_held: int
    digest: str

    def record(self) -> dict[str, object]:
        """Return the summary as JSON values."""
        return asdict(self)


def export_collection(source: Store, destination: Store, options: ExportOptions) -> ExportSummary:
    """Write a collection's committed images in another layout; files that are there already stay.

    The same rows and options give the same bytes, whatever parts the manifest is cut into and however often the export
    was interrupted. Memory is bounded: rows beyond a limit wait in temporary files of this host.

    Parameters
    ----------
    source : Store
        The collection; a run may be writing to it.
    destination : Store
        An empty or new location, or one where the same export was begun.
    options : ExportOptions
        What to write, and how.

    Returns
    -------
    ExportSummary
        What stands there now.

    Raises
    ------
    ExportFailed
        When a picture is missing or changed, or a location fails; what is finished stays.
    InvalidExport, InvalidQuery, InvalidCollection, CollectionBusy
        When the export cannot be begun; nothing was written.
    """
    try:
        check_destination(destination, source)
        tell(News("export", "choosing rows"))
        with selected(source, options) as selection, opened(destination, selection, options) as files:
            _write(source, selection, options, files)
    except OSError as error:
        raise ExportFailed(
            f"Exporting {source.location} to {destination.location} stopped: {error}. The files that are finished "
            "stay; the same command goes on from there."
        ) from error
    return ExportSummary(
        format=options.format.value,
        destination=str(destination.location),
        images=selection.images,
        picture_bytes=selection.picture_bytes if options.pictures else 0,
        files_written=files.files_written,
        files_held=files.files_held,
        digest=selection.digest,
    )


def _write(source: Store, selection: Selection, options: ExportOptions, files: Destination) -> None:
    if options.format is Format.webdataset:
        write_webdataset(source, selection, options.limits, files)
    elif options.format is Format.imagefolder:
        write_imagefolder(source, selection, files)
    else:
        write_parquet(source, selection, options, files)
