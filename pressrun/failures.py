"""Dead letters: requests that could not be made into pictures, and why.

Knows nothing of how the failure was isolated. A failure is stale once the manifest holds its image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pressrun import layout, manifest
from pressrun.image_ids import first_not_held, ids_of
from pressrun.request import REQUEST_SCHEMA, first_of_each
from pressrun.storage import Store

FAILURE_SCHEMA = pa.schema(
    [
        *REQUEST_SCHEMA,
        pa.field("stage", pa.string(), nullable=False),
        pa.field("error_type", pa.string(), nullable=False),
        pa.field("error", pa.string(), nullable=False),
        pa.field("attempts", pa.int32(), nullable=False),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("model", pa.string()),  # of a job with several; else the run's record tells
    ]
)
_LONGEST_ERROR = 2000


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one request failed.

    Parameters
    ----------
    image_id : str
        The picture that was not made.
    stage : str
        Where it failed: "render", "publish".
    error_type : str
        Class name of the error.
    error : str
        Its message, shortened.
    attempts : int
        How often the request was tried by itself.
    """

    image_id: str
    stage: str
    error_type: str
    error: str
    attempts: int

    @classmethod
    def of(cls, image_id: str, stage: str, error: BaseException, attempts: int) -> Failure:
        """Return the dead letter for an exception."""
        return cls(image_id, stage, type(error).__name__, str(error)[:_LONGEST_ERROR], attempts)


def write_failures(store: Store, part_id: str, requests: pa.Table, failures: Sequence[Failure], run_id: str) -> None:
    """Write the dead letters of one run's shard.

    Parameters
    ----------
    store : Store
        The collection.
    part_id : str
        Names the part; writing it again replaces it.
    requests : pyarrow.Table
        Requests among which the failed ones are.
    failures : sequence of Failure
        What failed; nothing is written when empty.
    run_id : str
        The run that tried.
    """
    if not failures:
        return
    last = {failure.image_id: asdict(failure) | {"run_id": run_id} for failure in failures}
    reasons = pa.Table.from_pylist(list(last.values()))
    joined = requests.join(reasons, "image_id", join_type="inner")
    ordered = joined.sort_by([("row", "ascending"), ("image_number", "ascending")])
    if "model" not in ordered.column_names:
        ordered = ordered.append_column("model", pa.nulls(ordered.num_rows, pa.string()))
    rows = ordered.select(FAILURE_SCHEMA.names).cast(FAILURE_SCHEMA)
    store.write(layout.failures(part_id), manifest.to_parquet(rows))


def read_failures(store: Store, run_id: str | None = None) -> pa.Table:
    """Return the dead letters that no later run has mended, each image's newest reason only.

    Parameters
    ----------
    store : Store
        The collection.
    run_id : str or None
        Only those of this run.
    """
    names = store.names(layout.FAILURES, ".parquet")
    tables = [manifest.read_table(store, name) for name in reversed(names)]  # run ids sort by time: newest first
    # By name: letters of earlier versions have no model.
    every = pa.concat_tables([FAILURE_SCHEMA.empty_table(), *tables], promote_options="default")
    rows = first_of_each(every)
    if run_id is not None:
        rows = rows.filter(pc.equal(rows.column("run_id"), run_id))
    if rows.num_rows == 0:
        return rows
    return rows.filter(pa.array(first_not_held(ids_of(rows), manifest.held_images(store)).rows))
