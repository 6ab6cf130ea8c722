"""A batch: requests alike enough to be rendered in one go.

Knows nothing of how batches are chosen (`pressrun.plan`) or rendered (`workers.engines.renderer`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from pressrun.table_bytes import from_bytes, to_bytes

# Requests that differ in one of these can never share a batch.
BUCKET_FIELDS = ("adapters", "scheduler", "width_px", "height_px", "steps", "guidance_scale")


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests of one bucket, rendered together.

    Parameters
    ----------
    batch_id : str
        Names the receipt; a digest of the image ids, so the same batch always has the same name.
    requests : pyarrow.Table
        Rows of `pressrun.request.REQUEST_SCHEMA` with equal values in every `BUCKET_FIELDS` column; 1 .. `size` rows.
    size : int
        Pictures the engine renders at once. A shorter batch is padded up to it, since the batch size itself moves
        the lowest bits of a picture.
    """

    batch_id: str
    requests: pa.Table
    size: int

    def __len__(self) -> int:
        """Return the number of pictures asked for, padding left out."""
        return int(self.requests.num_rows)

    def __reduce__(self) -> tuple[Callable[[str, bytes, int], Batch], tuple[str, bytes, int]]:
        """Return what travels to another process: the batch's own rows, where a pickled slice takes its whole table."""
        return _arrived, (self.batch_id, to_bytes(self.requests), self.size)

    def column(self, name: str) -> list[object]:
        """Return one request field of every picture, in batch order."""
        values: list[object] = self.requests.column(name).to_pylist()
        return values

    def shared(self, name: str) -> object:
        """Return the one value that a bucket field has throughout the batch."""
        return self.requests.column(name)[0].as_py()


def _arrived(batch_id: str, requests: bytes, size: int) -> Batch:
    return Batch(batch_id, from_bytes(requests), size)
