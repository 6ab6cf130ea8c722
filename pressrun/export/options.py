"""What an export is asked to be.

Knows nothing of how it is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pressrun.errors import InvalidExport
from pressrun.export.shards import Limits

_SHARD_IMAGES = 10_000
_SHARD_BYTES = 500_000_000


class Format(StrEnum):
    """The layouts there are."""

    webdataset = "webdataset"  # tar shards
    imagefolder = "imagefolder"  # picture files and metadata.jsonl
    parquet = "parquet"  # Parquet files with the pictures inside


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What to write of a collection, and how.

    Parameters
    ----------
    format : Format
        The layout.
    where : tuple of str
        Conditions as `pressrun search` takes them; a row must fulfil all.
    pictures : bool
        Whether the pictures go along; only Parquet can do without.
    embeddings : bool
        Whether the embeddings go along, as one more column.
    shard_images : int or None
        Pictures of a shard at most, 1 or more; 10,000 when left out. Image folders have no shards.
    shard_bytes : int or None
        Bytes of a shard's pictures at most; a larger picture gets a shard of its own. 500 million when left out.

    Raises
    ------
    InvalidExport
        When the options contradict each other.
    """

    format: Format
    where: tuple[str, ...] = ()
    pictures: bool = True
    embeddings: bool = False
    shard_images: int | None = None
    shard_bytes: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not self.pictures and self.format is not Format.parquet:
            raise InvalidExport(f"{self.format} is made of pictures; rows without them can be written as parquet.")
        limits = {"images": self.shard_images, "bytes": self.shard_bytes}
        for unit, limit in limits.items():
            if limit is not None and self.format is Format.imagefolder:
                raise InvalidExport("An image folder has no shards; leave their limits out, or choose another format.")
            if limit is not None and limit < 1:
                raise InvalidExport(f"A shard of {limit} {unit} cannot be written; allow 1 or more.")

    @property
    def limits(self) -> Limits:
        """What a shard holds at most; rows without pictures have no size."""
        size_bytes = self.shard_bytes or _SHARD_BYTES
        return Limits(self.shard_images or _SHARD_IMAGES, size_bytes if self.pictures else None)

    @property
    def shape(self) -> dict[str, object]:
        """What moves bytes for the same rows, as JSON values."""
        limits = None if self.format is Format.imagefolder else [self.limits.images, self.limits.size_bytes]
        return {"format": self.format.value, "pictures": self.pictures, "shards": limits}
