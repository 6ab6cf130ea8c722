"""A job's models one after the other: warmed and measured in turn, their engine options tried in turn.

Knows nothing of how one model is warmed (`workers.speed`) or tried (`workers.quality_gate`).
"""

from __future__ import annotations

from dataclasses import replace

from pressrun.batch_sizes import BatchSizes
from pressrun.engine_options import OptionTrial
from pressrun.errors import QualityRefused
from pressrun.model_parts import parts_of
from pressrun.profile import Profile
from pressrun.run import Run
from workers.fleet import Fleet
from workers.order import PrintOrder
from workers.quality_gate import accept_options
from workers.speed import Speed, warm_fleet


def warm_models(run: Run, fleet: Fleet, order: PrintOrder) -> Speed:
    """Warm the workers with every model that has something to draw, and settle its batch sizes.

    The model that is drawn first comes last, so that it is warm when drawing begins where memory has room for one only.

    Parameters
    ----------
    run : Run
        The run; its ledger takes the measurements of all models.
    fleet : Fleet
        Its open workers.
    order : PrintOrder
        The standing instructions.

    Raises
    ------
    StageFailed
        When no picture of a model's most common size can be drawn.
    """
    if len(run.models) < 2:
        return warm_fleet(run, fleet, order)
    speeds: dict[str, Speed] = {}
    profiles: tuple[Profile, ...] = ()
    start_s = 0.0
    for name, part in reversed(parts_of(run).items()):
        speeds[name] = warm_fleet(part, fleet, order.of(name))
        profiles = (*run.ledger.profiles, *profiles)
        start_s += run.ledger.start_s - run.ledger.opening_s  # one more worker will have to load them all
    run.ledger.profiles = profiles
    run.ledger.start_s = run.ledger.opening_s + start_s
    return Speed(BatchSizes({}), speeds)


def accept_models_options(run: Run, fleet: Fleet, order: PrintOrder) -> PrintOrder:
    """Try the job's engine options on every model that has something to draw, and return the order to print by.

    Parameters
    ----------
    run : Run
        The run; its ledger takes what was measured.
    fleet : Fleet
        Its open workers.
    order : PrintOrder
        The standing instructions, options included.

    Returns
    -------
    PrintOrder
        The same, with the plain engine for those models that fall back to it.

    Raises
    ------
    QualityRefused
        When one model's pictures come out farther from the plain engine's than the budget allows.
    """
    if len(run.models) < 2:
        return accept_options(run, fleet, order)
    accepted: dict[str, PrintOrder] = {}
    trials: list[OptionTrial] = []
    for name, part in parts_of(run).items():
        run.ledger.trials = ()
        try:
            accepted[name] = accept_options(part, fleet, order.of(name))
        except QualityRefused as error:
            raise QualityRefused(f"Model {name}: {error}") from error
        finally:
            trials += [_named(trial, name) for trial in part.ledger.trials]
            run.ledger.trials = tuple(trials)
    return order.with_models(accepted)


def _named(trial: OptionTrial, model: str) -> OptionTrial:
    return replace(trial, name=f"{model}: {trial.name}")
