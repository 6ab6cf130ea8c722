from __future__ import annotations

import mmap
from pathlib import Path

from pressrun.cache.options import CacheOptions
from workers.weights.run_pool import empty_pool, run_pool


def test_a_run_keeps_weights_in_memory_only_if_told_and_leaves_none_there(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.write_bytes(b"w" * 5000)
    told = CacheOptions(memory_bytes=10_000)
    assert run_pool(CacheOptions(), tmp_path) is None
    pool = run_pool(told, tmp_path)
    assert pool is not None

    def fill(target: mmap.mmap) -> None:
        target[:] = weights.read_bytes()

    mapped = pool.take(weights, fill)
    assert mapped is not None
    mapped.close()
    assert any(pool.root.glob("*.weights"))
    empty_pool(tmp_path)
    assert not any(pool.root.glob("*.weights"))
