"""Parts of random embeddings in clusters, and what an index finds among them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pressrun.index.recipe import IndexRecipe
from pressrun.index.vectors import Index

DIMENSION = 16
LISTS = IndexRecipe("IVF64,SQfp16", 64)


def vectors(rows: int, seed: int = 0, clusters: int = 40) -> np.ndarray:
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(clusters, DIMENSION))
    points = centres[random.integers(clusters, size=rows)] + 0.3 * random.normal(size=(rows, DIMENSION))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float16)


def part(rows: int, seed: int = 0, first: int = 0) -> pa.Table:
    ids = [f"{first + i:032x}" for i in range(rows)]
    flat = pa.array(vectors(rows, seed).reshape(-1))
    paths = [f"images/{image_id[:2]}/{image_id}.png" for image_id in ids]
    return pa.table({"image_id": ids, "path": paths, "embedding": pa.FixedSizeListArray.from_arrays(flat, DIMENSION)})


def matrix(table: pa.Table) -> np.ndarray:
    return table.column("embedding").combine_chunks().flatten().to_numpy().astype(np.float32).reshape(-1, DIMENSION)


def nearest_ids(index: Index, query: np.ndarray, count: int) -> list[str]:
    _, positions = index.nearest(query[None].astype(np.float32), count)
    return index.ids.take(pa.array(positions[0])).to_pylist()
