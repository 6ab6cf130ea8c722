"""A few example searches for the report, asked of a worker whose embedder is warm.

Knows nothing of how they are shown.
"""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from pressrun.index.generations import load_index
from pressrun.report.contact_sheet import choose_evenly
from pressrun.run import Run
from workers.fleet import Fleet
from workers.order import PrintOrder
from workers.warm_embedder import warm_embedder

_EXAMPLES = 3
_HITS = 6
_LARGEST_INDEX_ROWS = 200_000  # loading a larger index for three examples is not worth the wait
_PATIENCE_S = 60.0
logger = logging.getLogger(__name__)


def find_examples(run: Run, fleet: Fleet, order: PrintOrder) -> None:
    """Search the fresh index for a few of the run's own prompts and enter the hits in the ledger."""
    if run.is_idle or order.embedder is None:
        return
    try:
        _find(run, fleet, order)
    except Exception:  # every image is made by now: a run does not fail for want of examples
        logger.warning("no example searches for the report", exc_info=True)


def _find(run: Run, fleet: Fleet, order: PrintOrder) -> None:
    index, meta = load_index(run.store)
    if meta.rows > _LARGEST_INDEX_ROWS:
        return
    prompts = sorted(pc.unique(run.plan.todo.column("prompt")).to_pylist(), key=lambda prompt: (len(prompt), prompt))
    queries = [prompts[at] for at in choose_evenly(len(prompts), _EXAMPLES)]
    vectors = fleet.open().submit(_embed, order, queries, pure=False).result(_PATIENCE_S)
    scores, positions = index.nearest(vectors, _HITS)
    for query, row_scores, row_positions in zip(queries, scores, positions, strict=True):
        held = row_positions >= 0
        ids = index.ids.take(row_positions[held]).to_pylist()
        run.ledger.searches[query] = list(zip(ids, map(float, row_scores[held]), strict=True))


def _embed(order: PrintOrder, texts: list[str]) -> npt.NDArray[np.float32]:
    embedder = warm_embedder(order)
    assert embedder is not None, "an order with an embedder has one on every worker"
    return embedder.embed_texts(texts)
