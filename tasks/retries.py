"""Which failures of a stage are worth another try.

Knows nothing of the stages.
"""

from __future__ import annotations

from prefect import State, Task
from prefect.client.schemas.objects import TaskRun

from pressrun.errors import (
    CollectionBusy,
    InvalidCollection,
    InvalidJob,
    InvalidModel,
    QualityRefused,
    QuoteRefused,
    ReleaseRefused,
    RunCancelled,
)

_FINAL = (
    CollectionBusy,
    InvalidCollection,
    InvalidJob,
    InvalidModel,
    QualityRefused,
    QuoteRefused,
    ReleaseRefused,
    RunCancelled,
)


async def is_worth_retrying(task: Task[..., object], task_run: TaskRun, state: State[object]) -> bool:
    """Return False for a failure that the next try would only repeat; see Prefect's `retry_condition_fn`."""
    return not isinstance(await state.aresult(raise_on_failure=False), _FINAL)
