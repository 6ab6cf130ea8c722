"""A golden set: a small collection whose pictures a new revision of a model has to draw again.

Knows nothing of who draws, nor of what is like enough (`pressrun.release.verdict`). Any collection can be one; its rows
say what to ask for and which picture to compare with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from pressrun import manifest
from pressrun.batch import BUCKET_FIELDS, Batch
from pressrun.collection import find_identity
from pressrun.errors import InvalidCollection
from pressrun.plan import batch_name
from pressrun.request import REQUEST_SCHEMA
from pressrun.storage import Store

_COLUMNS = [*REQUEST_SCHEMA.names, "path", "sha256", "model_revision", "batch_size", "provenance"]
_MOST_PICTURES = 1000  # a release should take minutes


@dataclass(frozen=True, slots=True)
class GoldenBatch:
    """Golden pictures that are drawn together.

    Parameters
    ----------
    batch : Batch
        Their requests, at the batch size at which they were drawn.
    rows : pyarrow.Table
        Their manifest rows, in the same order.
    """

    batch: Batch
    rows: pa.Table


def read_golden(store: Store) -> pa.Table:
    """Return the rows of a golden set; none where there is no collection or nothing in it.

    Raises
    ------
    InvalidCollection
        When the location cannot be read, or the set cannot be drawn by a model alone, or not in minutes.
    """
    rows = manifest.read_rows(store, _COLUMNS) if find_identity(store) is not None else pa.table({})
    if not rows.num_rows:
        return manifest.manifest_schema(0).empty_table().select(_COLUMNS)
    if rows.num_rows > _MOST_PICTURES:
        raise InvalidCollection(
            f"The golden set {store.location} has {rows.num_rows} pictures, at most {_MOST_PICTURES} are drawn for a "
            "release; generate a smaller one from prompts that show what matters."
        )
    adapted = [prompt for prompt, used in zip(*_columns(rows, "prompt", "adapters"), strict=True) if used]
    if adapted:
        raise InvalidCollection(
            f"{len(adapted)} of {rows.num_rows} pictures of the golden set {store.location} use adapters (the first is "
            f"{adapted[0]!r}), but a release checks a model alone; generate a golden set without adapters."
        )
    return rows


def is_begun_by(store: Store, rows: pa.Table, revision: str) -> bool:
    """Return whether a golden set is empty or was begun by the same release, so that it may be completed.

    Parameters
    ----------
    store : Store
        The set.
    rows : pyarrow.Table
        What it holds.
    revision : str
        What stands for the weights in picture ids.
    """
    if not rows.num_rows:
        return True
    identity = find_identity(store)
    return identity is not None and not identity.embedder and set(*_columns(rows, "model_revision")) == {revision}


def golden_batches(rows: pa.Table) -> Iterator[GoldenBatch]:
    """Yield the pictures of a golden set, those together that can be drawn together, each once."""
    members: dict[tuple[object, ...], list[int]] = {}
    for number, row in enumerate(rows.select([*BUCKET_FIELDS, "batch_size"]).to_pylist()):
        members.setdefault(tuple(row.values()), []).append(number)
    for (*_, batch_size), numbers in members.items():
        size = int(str(batch_size))
        for start in range(0, len(numbers), size):
            chosen = rows.take(numbers[start : start + size])
            requests = chosen.select(REQUEST_SCHEMA.names).cast(REQUEST_SCHEMA)
            yield GoldenBatch(Batch(batch_name(requests, size), requests, size), chosen)


def _columns(rows: pa.Table, *names: str) -> list[list[str]]:
    return [rows.column(name).to_pylist() for name in names]
