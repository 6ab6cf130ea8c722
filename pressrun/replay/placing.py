"""Where sampled pictures are drawn again: full batches with other companions, each picture in two slots.

Knows nothing of files, workers or engines: Arrow tables in, batches out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from random import Random
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc

from pressrun.batch import BUCKET_FIELDS, Batch
from pressrun.plan import batch_name
from pressrun.replay.sample import Sample
from pressrun.request import REQUEST_SCHEMA

# Sampled pictures share a batch only if they were drawn alike, and by one worker, so that another can be found.
_ALIKE = (*BUCKET_FIELDS, "model_revision", "run_id", "provenance", "batch_size", "worker")
_COMPANIONABLE = (*BUCKET_FIELDS, "model_revision")


@dataclass(frozen=True, slots=True)
class Placing:
    """One batch of a replay.

    Parameters
    ----------
    batch : Batch
        Full, at the size at which the pictures were drawn.
    rows : pyarrow.Table
        Manifest rows of the pictures to compare, drawn alike.
    slots : tuple of int
        Where in the batch each of `rows` stands.
    """

    batch: Batch
    rows: pa.Table
    slots: tuple[int, ...]

    def shared(self, name: str) -> str:
        """Return a text that all rows to compare have in common: "worker", "run_id", "provenance", ..."""
        return cast(str, self.rows.column(name)[0].as_py())


def arrange(sample: Sample, seed: int) -> list[Placing]:
    """Place every sampled picture in full batches of the size at which it was drawn.

    The manifest does not tell a picture's slot, so each is placed in two, of which one at least is another; at batch
    size 1 there is only one. Companions are random ones of its own bucket; where the files at hold have too few,
    the picture's own request with other seeds joins in.

    Parameters
    ----------
    sample : Sample
        The pictures and where to take companions from.
    seed : int
        Decides slots and companions.
    """
    random = Random(seed)
    placings: list[Placing] = []
    for rows in _groups(sample.rows):
        size = int(rows.column("batch_size")[0].as_py())
        for start in range(0, rows.num_rows, size):
            placings += _place(rows.slice(start, size), size, sample.neighbours, random)
    return placings


def _groups(rows: pa.Table) -> Iterator[pa.Table]:
    members: dict[tuple[object, ...], list[int]] = {}
    for number, row in enumerate(rows.select(_ALIKE).to_pylist()):
        members.setdefault(tuple(row.values()), []).append(number)
    return (rows.take(numbers) for numbers in members.values())


def _place(rows: pa.Table, size: int, neighbours: pa.Table, random: Random) -> Iterator[Placing]:
    slots = random.sample(range(size), rows.num_rows)
    shifts = (0, random.randrange(1, size)) if size > 1 else (0,)
    for shift in shifts:
        moved = tuple((slot + shift) % size for slot in slots)
        requests = _filled(rows, moved, _companions(rows, size - rows.num_rows, neighbours, random))
        yield Placing(Batch(batch_name(requests, size), requests, size), rows, moved)


def _companions(rows: pa.Table, count: int, neighbours: pa.Table, random: Random) -> pa.Table:
    alike = [pc.equal(neighbours.column(name), rows.column(name)[0]) for name in _COMPANIONABLE]
    strangers = pc.invert(pc.is_in(neighbours.column("image_id"), value_set=rows.column("image_id").combine_chunks()))
    pool = neighbours.filter(reduce(pc.and_, alike, strangers)).select(REQUEST_SCHEMA.names)
    chosen = pool.take(pa.array(random.sample(range(pool.num_rows), min(count, pool.num_rows)), pa.int64()))
    request = rows.select(REQUEST_SCHEMA.names).slice(0, 1).to_pylist()[0]
    # Seeds with this bit set are derived from no prompt, so they are not the picture's own by chance.
    others = [request | {"seed": 2**62 + random.getrandbits(32)} for _ in range(count - chosen.num_rows)]
    return pa.concat_tables([chosen, pa.Table.from_pylist(others, schema=REQUEST_SCHEMA)])


def _filled(rows: pa.Table, slots: Sequence[int], companions: pa.Table) -> pa.Table:
    size = rows.num_rows + companions.num_rows
    at_slot = {slot: number for number, slot in enumerate(slots)}
    rest = iter(range(rows.num_rows, size))
    order = [at_slot[slot] if slot in at_slot else next(rest) for slot in range(size)]
    both = pa.concat_tables([rows.select(REQUEST_SCHEMA.names), companions])
    return both.take(pa.array(order, pa.int64())).cast(REQUEST_SCHEMA)
