"""What a replay saw, as it stays with the collection: one Parquet file a replay, one row a picture drawn again.

Knows nothing of how pictures were drawn. A replay adds its own file and changes nothing else.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pressrun import layout, manifest
from pressrun.errors import InvalidCollection
from pressrun.replay.likeness import Likeness, Provenance, Verdict, changes, judge
from pressrun.storage import Store

# Room above what was measured with the carried model: 1 step in fp32 between batch sizes and between thread counts,
# 53 between fp32 and bf16, which is how far rounding in bf16 can lead. fp16 rounds finer than bf16.
_USUAL_STEPS = {"fp32": 4, "bf16": 64, "fp16": 16}
_STRICTEST = 4
logger = logging.getLogger(__name__)

SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("verdict", pa.string(), nullable=False),  # a `Verdict`
        pa.field("equal_share", pa.float64()),  # of the 8-bit values; null for an unreadable picture, as all of these
        pa.field("max_steps", pa.int32()),
        pa.field("mean_steps", pa.float64()),
        pa.field("psnr_db", pa.float64()),  # null also where all values are equal
        pa.field("allowed_steps", pa.int32(), nullable=False),
        pa.field("problem", pa.string(), nullable=False),
        pa.field("slot", pa.int32(), nullable=False),  # in the batch of the replay
        pa.field("batch_size", pa.int32(), nullable=False),
        pa.field("worker_then", pa.string(), nullable=False),
        pa.field("worker_now", pa.string(), nullable=False),
        pa.field("provenance_then", pa.string(), nullable=False),
        pa.field("provenance_now", pa.string(), nullable=False),
        pa.field("run_id", pa.string(), nullable=False),  # the run that made the picture
        pa.field("seed", pa.int64(), nullable=False),  # of the sample
        pa.field("replayed_at", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class Sighting:
    """One picture drawn again and compared.

    Parameters
    ----------
    row : mapping
        Its `image_id`, `path`, `batch_size`, `provenance`, `worker` and `run_id` in the manifest.
    slot : int
        Its place in the batch.
    worker : str
        Who drew it again.
    provenance : mapping
        What its bits depended on this time.
    likeness : Likeness or None
        None when there was nothing to compare with.
    problem : str
        Why there was not.
    """

    row: Mapping[str, Any]
    slot: int
    worker: str
    provenance: Provenance
    likeness: Likeness | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ReplaySummary:
    """A replay in a few numbers.

    Parameters
    ----------
    replay_id : str
        Names its file.
    replayed_at : str
        ISO 8601, UTC.
    seed : int
        Of the sample.
    pictures : int
        Pictures of the sample.
    drawings : int
        Times that they were drawn again, all together.
    verdicts : dict of str to int
        Drawings by `Verdict`.
    on_another_worker : int
        Drawings by another worker than the row names.
    max_steps : int
        Largest difference, in 8-bit steps.
    mean_steps : float
        Mean difference over all drawings.
    equal_share : float
        Share of equal 8-bit values over all drawings.
    least_psnr_db : float or None
        Of the most different drawing; None when all are equal.
    allowed_steps : int
        The largest tolerance that was allowed to any.
    changes : dict of str to int
        What decides bits and has changed since, and for how many drawings.
    """

    replay_id: str
    replayed_at: str
    seed: int
    pictures: int
    drawings: int
    verdicts: dict[str, int]
    on_another_worker: int
    max_steps: int
    mean_steps: float
    equal_share: float
    least_psnr_db: float | None
    allowed_steps: int
    changes: dict[str, int]

    @property
    def is_sound(self) -> bool:
        """Whether every drawing was equal or within its tolerance."""
        return set(self.verdicts) <= {Verdict.equal, Verdict.within}

    def record(self) -> dict[str, object]:
        """Return the summary as JSON values."""
        return {"sound": self.is_sound} | asdict(self)


def judged(sightings: Sequence[Sighting], tolerance_steps: int | None, seed: int, now: datetime) -> pa.Table:
    """Return the rows of a replay, in `SCHEMA`.

    Parameters
    ----------
    sightings : sequence of Sighting
        What was seen.
    tolerance_steps : int or None
        Largest difference allowed; None allows none where nothing that decides bits has changed, and elsewhere what is
        usual for the number format.
    seed : int
        Of the sample.
    now : datetime
        With its timezone.
    """
    rows = [_row(sighting, tolerance_steps) | {"seed": seed, "replayed_at": now} for sighting in sightings]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def write_replay(store: Store, replay_id: str, rows: pa.Table) -> str:
    """Write a replay beside the manifest and return its name."""
    name = layout.replay(replay_id)
    store.write(name, manifest.to_parquet(rows))
    return name


def last_replay(store: Store) -> ReplaySummary | None:
    """Return the collection's latest replay; None when there was none, or its record is damaged."""
    names = store.names(layout.REPLAYS, ".parquet")
    if not names:
        return None
    replay_id = names[-1].removeprefix(f"{layout.REPLAYS}/").removesuffix(".parquet")
    try:
        return summarise(replay_id, manifest.read_table(store, names[-1]).cast(SCHEMA))
    except (InvalidCollection, pa.ArrowInvalid, ValueError) as error:
        logger.warning("%s cannot be read as a replay's record (%s)", names[-1], error)
        return None


def summarise(replay_id: str, rows: pa.Table) -> ReplaySummary:
    """Return a replay's rows, one at least, in a few numbers."""
    verdicts = {entry["values"]: entry["counts"] for entry in pc.value_counts(rows.column("verdict")).to_pylist()}
    elsewhere = pc.sum(pc.not_equal(rows.column("worker_then"), rows.column("worker_now"))).as_py()
    psnr_db = pc.min(rows.column("psnr_db")).as_py()
    return ReplaySummary(
        replay_id=replay_id,
        replayed_at=rows.column("replayed_at")[0].as_py().isoformat(timespec="seconds"),
        seed=rows.column("seed")[0].as_py(),
        pictures=pc.count_distinct(rows.column("image_id")).as_py(),
        drawings=rows.num_rows,
        verdicts=verdicts,
        on_another_worker=int(elsewhere or 0),
        max_steps=pc.max(rows.column("max_steps")).as_py() or 0,
        mean_steps=pc.mean(rows.column("mean_steps")).as_py() or 0.0,
        equal_share=pc.mean(rows.column("equal_share")).as_py() or 0.0,
        least_psnr_db=psnr_db,
        allowed_steps=pc.max(rows.column("allowed_steps")).as_py(),
        changes=_changes(rows),
    )


def _row(sighting: Sighting, tolerance_steps: int | None) -> dict[str, object]:
    row, likeness = sighting.row, sighting.likeness
    allowed = _allowed_steps(json.loads(row["provenance"]), sighting.provenance, tolerance_steps)
    return {
        **{name: row[name] for name in ("image_id", "path", "batch_size", "run_id")},
        **(asdict(likeness) if likeness else {}),
        "verdict": judge(likeness, allowed) if likeness else Verdict.unreadable,
        "allowed_steps": allowed,
        "problem": sighting.problem,
        "slot": sighting.slot,
        "worker_then": row["worker"],
        "worker_now": sighting.worker,
        "provenance_then": row["provenance"],
        "provenance_now": json.dumps(dict(sighting.provenance), sort_keys=True),
    }


def _allowed_steps(then: Provenance, now: Provenance, tolerance_steps: int | None) -> int:
    if tolerance_steps is not None:
        return tolerance_steps
    return _USUAL_STEPS.get(str(then.get("dtype")), _STRICTEST) if changes(then, now) else 0


def _changes(rows: pa.Table) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in rows.select(["provenance_then", "provenance_now"]).to_pylist():
        for change in changes(json.loads(row["provenance_then"]), json.loads(row["provenance_now"])):
            counts[change] = counts.get(change, 0) + 1
    return counts
