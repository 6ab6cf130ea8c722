"""The revisions that are on their way to this host; safe to use from many threads."""

from __future__ import annotations

from threading import Lock

from workers.cache.bring import Bring


class Brings:
    """One bring a revision."""

    def __init__(self) -> None:
        self._by_revision: dict[str, Bring] = {}
        self._lock = Lock()

    @property
    def waiting_chunks(self) -> int:
        """Chunks that are to come."""
        return sum(len(bring.lacking) for bring in self.all())

    def add(self, bring: Bring) -> None:
        """Have a bring among them."""
        with self._lock:
            self._by_revision[bring.revision] = bring

    def remove(self, bring: Bring) -> tuple[str, ...]:
        """Forget a bring; returns what it lacks and no other does."""
        with self._lock:
            self._by_revision.pop(bring.revision, None)
        others = {chunk_id for other in self.all() for chunk_id in tuple(other.lacking)}
        return tuple(set(bring.lacking) - others)

    def of(self, revision: str) -> Bring | None:
        """Return the bring of a revision."""
        return self._by_revision.get(revision)

    def all(self) -> list[Bring]:
        """Return every bring."""
        with self._lock:
            return list(self._by_revision.values())

    def waiting_for(self, chunk_id: str) -> list[Bring]:
        """Return those that lack a chunk, first those that know where to read it at the origin."""
        waiting = [bring for bring in self.all() if chunk_id in bring.lacking]
        return sorted(waiting, key=lambda bring: bring.origin is None)


__all__ = ["Brings"]
