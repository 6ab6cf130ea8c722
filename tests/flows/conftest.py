from __future__ import annotations

from tests.forked_workers import fork_workers

fork_workers()
