"""A stage is tried again for what may pass, never for what would only be refused again."""

from __future__ import annotations

import pytest
from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from pressrun.errors import CollectionBusy, InvalidModel, QuoteRefused, RunCancelled, StageFailed
from tasks.retries import is_worth_retrying


@pytest.mark.usefixtures("prefect_api")
@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (InvalidModel("no such model"), 1),
        (CollectionBusy("in use"), 1),
        (RunCancelled("stopped"), 1),
        (QuoteRefused("too slow"), 1),
        (StageFailed("no workers for now"), 3),
        (OSError("the bucket is away"), 3),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_attempts(error: Exception, attempts: int) -> None:
    made = []

    @task(retries=2, retry_condition_fn=is_worth_retrying, cache_policy=NO_CACHE)
    def stage() -> None:
        made.append(1)
        raise error

    @flow
    def run() -> None:
        stage()

    with pytest.raises(type(error)):
        run()
    assert len(made) == attempts
