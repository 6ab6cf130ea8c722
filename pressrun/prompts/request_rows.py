"""Checked prompt rows turned into requests, one a picture.

Knows nothing of prompt files, of what was wrong with a row, or of models.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

import pyarrow as pa

from pressrun.prompts.rules import CheckedRows
from pressrun.request import MODELS_SCHEMA, REQUEST_SCHEMA, derived_seed

# Requests in one record batch at most; no row asks for more. 16,384 texts of 64 KiB fit Arrow's 2 GiB a column.
PIECE_IMAGES = 16_384
_PER_IMAGE = ("image_id", "image_number", "seed")


def request_batches(checked: CheckedRows) -> Iterator[pa.RecordBatch]:
    """Yield the rows' requests in order, `images_per_prompt` a row, each picture with its own seed.

    Parameters
    ----------
    checked : CheckedRows
        Rows without a problem.

    Yields
    ------
    pyarrow.RecordBatch
        1 .. `PIECE_IMAGES` rows of `REQUEST_SCHEMA`, of `MODELS_SCHEMA` where rows have a model; `image_id` is "", the
        plan fills it in.
    """
    counts: list[int] = checked.fields["images_per_prompt"]
    ends = list(accumulate(counts, initial=0))
    start = 0
    for stop in range(1, len(ends)):
        if stop + 1 == len(ends) or ends[stop + 1] - ends[start] > PIECE_IMAGES:
            yield _requests_of(checked, slice(start, stop), counts[start:stop])
            start = stop


def _requests_of(checked: CheckedRows, piece: slice, counts: Sequence[int]) -> pa.RecordBatch:
    """Return the requests of some neighbouring rows."""
    numbers = [number for count in counts for number in range(count)]
    picks = None
    if len(numbers) > len(counts):
        picks = pa.array([row for row, count in enumerate(counts) for _ in range(count)], pa.int32())
    values = {**checked.fields, "row": checked.rows}
    columns: dict[str, pa.Array] = {
        "image_id": pa.repeat("", len(numbers)),
        "image_number": pa.array(numbers, pa.int32()),
        "seed": pa.array(_seeds(checked, piece, counts), pa.int64()),
    }
    schema = MODELS_SCHEMA if "model" in checked.fields else REQUEST_SCHEMA
    for field in schema:
        if field.name not in _PER_IMAGE:
            per_row = pa.array(values[field.name][piece], field.type)
            columns[field.name] = per_row if picks is None else per_row.take(picks)
    return pa.record_batch([columns[name] for name in schema.names], schema=schema)


def _seeds(checked: CheckedRows, piece: slice, counts: Sequence[int]) -> list[int]:
    """Return each picture's seed: the row's plus the picture's number, or one derived from the prompt."""
    prompts, seeds = checked.fields["prompt"][piece], checked.fields["seed"][piece]
    return [
        derived_seed(prompt, number) if seed is None else seed + number
        for prompt, seed, count in zip(prompts, seeds, counts, strict=True)
        for number in range(count)
    ]
