"""Tasks of one process that wait for models on their host, and the answers that they get. Knows nothing of Dask."""

from __future__ import annotations

import threading

from workers.cache.channel import Answer


class Wait:
    """Tasks that wait for one revision."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._answer: Answer | None = None

    def answer(self, answer: Answer) -> None:
        """Let the tasks go on."""
        self._answer = answer
        self._done.set()

    def answered(self) -> Answer:
        """Return the answer once it is there."""
        self._done.wait()
        assert self._answer is not None
        return self._answer


class Waits:
    """What is waited for, by revision; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waits: dict[str, Wait] = {}
        self._last: Answer | None = None

    def join(self, revision: str) -> Wait:
        """Wait for a revision, with those who do already; to be asked for only afterwards."""
        with self._lock:
            if self._last is None:
                return self._waits.setdefault(revision, Wait())
            wait = Wait()
            wait.answer(self._last)
            return wait

    def answer(self, answer: Answer) -> None:
        """Let whoever waits for a revision go on; who comes later waits for another answer."""
        with self._lock:
            wait = self._waits.pop(answer.revision, None)
        if wait is not None:
            wait.answer(answer)

    def close(self, answer: Answer) -> None:
        """Let everybody go on with this answer, whoever comes later too."""
        with self._lock:
            self._last = answer
            waits, self._waits = list(self._waits.values()), {}
        for wait in waits:
            wait.answer(answer)


__all__ = ["Wait", "Waits"]
