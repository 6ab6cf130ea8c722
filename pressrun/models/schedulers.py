"""Which schedulers suit which kind of model.

Knows nothing of how an engine builds them.
"""

from __future__ import annotations

from pressrun.errors import InvalidJob
from pressrun.request import SCHEDULERS

# These solve the straight flow that flow-matching models learn; every other one solves a noise schedule.
_FLOW_ONLY = ("flow-euler", "flow-heun")
_BOTH = ("default", "dpmpp-2m", "unipc")


def schedulers_for(flow_matching: bool) -> tuple[str, ...]:
    """Return the schedulers that draw true pictures on a model; the others would draw noise without an error.

    Parameters
    ----------
    flow_matching : bool
        Whether the model was trained by flow matching.

    Returns
    -------
    tuple of str
        A part of `pressrun.request.SCHEDULERS`, in its order.
    """
    if flow_matching:
        return tuple(name for name in SCHEDULERS if name in _FLOW_ONLY + _BOTH)
    return tuple(name for name in SCHEDULERS if name not in _FLOW_ONLY)


def check_scheduler(name: str, flow_matching: bool) -> None:
    """Refuse a scheduler that does not suit the model.

    Raises
    ------
    InvalidJob
        If it is unknown or made for the other kind of model.
    """
    fitting = schedulers_for(flow_matching)
    if name not in fitting:
        kind = "flow-matching" if flow_matching else "noise-predicting"
        raise InvalidJob(f"The scheduler {name!r} does not suit this {kind} model; use one of {', '.join(fitting)}.")


__all__ = ["check_scheduler", "schedulers_for"]
