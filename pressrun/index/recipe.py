"""How a vector index is built and searched, chosen by its size.

Knows nothing of FAISS beyond the names of its recipes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_EXACT_ROWS = 200_000
_FP16_BYTES = 8 << 30
MOST_LISTS = 4096


@dataclass(frozen=True, slots=True)
class IndexRecipe:
    """How an index is built.

    Parameters
    ----------
    factory : str
        FAISS factory string.
    lists : int
        Inverted lists; 0 for exact search.
    """

    factory: str
    lists: int


@dataclass(frozen=True, slots=True)
class IndexTuning:
    """How an index is searched, and what that was measured to find.

    Parameters
    ----------
    probes : int
        Inverted lists visited a query; 0 for exact search.
    recall : float
        Share of the true 10 nearest that are found, over the queries tried; 1 for exact search.
    queries : int
        Queries tried; 0 for exact search.
    rows : int
        Rows held when it was measured.
    """

    probes: int
    recall: float
    queries: int
    rows: int


def index_recipe(rows: int, dimension: int) -> IndexRecipe:
    """Choose how to index a collection.

    Up to 200,000 rows every vector is compared: tens of milliseconds, nothing to tune, nothing missed. Above, vectors
    go to inverted lists, about 4 sqrt(rows) of them (FAISS's guidance), 4,096 at most so that training stays minutes
    on a processor. In the lists they stay float16, just as the manifest holds them, which costs no recall; when that
    would pass 8 GiB they are cut to 8 bits a number, for half the memory and about a hundredth of the recall. Product
    quantisation is left out: it reaches a recall of 0.95 only by looking the full vectors up again.

    Parameters
    ----------
    rows : int
        Rows to index, 0 or more.
    dimension : int
        Length of the vectors, 1 or more.

    Returns
    -------
    IndexRecipe
        The recipe.
    """
    if rows <= _EXACT_ROWS:
        return IndexRecipe("Flat", 0)
    lists = min(MOST_LISTS, 1 << round(math.log2(4 * math.sqrt(rows))))
    code = "SQfp16" if rows * dimension * 2 <= _FP16_BYTES else "SQ8"
    return IndexRecipe(f"IVF{lists},{code}", lists)
