"""The models of a job, each by the name that rows of its prompt file call it by.

Knows nothing of rows, plans or what is drawn.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from pressrun.errors import InvalidJob
from pressrun.job import Job
from pressrun.location import Location
from pressrun.models.diffusers_folder import ModelFacts, read_model

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class JobModel:
    """One model of a job.

    Parameters
    ----------
    location : Location
        Its folder.
    facts : ModelFacts
        What the folder says of itself, under the name that the job gives it.
    """

    location: Location
    facts: ModelFacts


def read_models(job: Job) -> dict[str, JobModel]:
    """Read every model of a job.

    Returns
    -------
    dict of str to JobModel
        By name, the main model first; that has the name which the job gives to its location, else its folder's.

    Raises
    ------
    InvalidJob
        When a name cannot be used, or would mean two models.
    InvalidModel
        When a model cannot be used.
    """
    for name in job.models:
        _check_name(name)
    main = _main_name(job)
    facts = read_model(job.model)
    models = {main or facts.name: JobModel(job.model, replace(facts, name=main or facts.name))}
    if main is None and facts.name in job.models:
        raise InvalidJob(
            f"The name {facts.name!r} means two models: {job.models[facts.name]}, which was given it, and the main "
            f"model {job.model}, whose folder has it; give the one another name, or the main model one of its own."
        )
    for name, location in job.models.items():
        if name not in models:
            models[name] = JobModel(location, replace(read_model(location), name=name))
    return models


def split_models(given: list[str]) -> tuple[str, dict[str, str]]:
    """Return the main model and the named ones of a command line's options.

    Parameters
    ----------
    given : list of str
        "NAME=LOCATION" or "LOCATION" each, at least one; "=" after a slash or colon belongs to a location.

    Returns
    -------
    tuple of (str, dict of str to str)
        The location without a name, else the first name; and the locations by name.

    Raises
    ------
    InvalidJob
        When two have no name, or the same, or one has no location.
    """
    named: dict[str, str] = {}
    plain: list[str] = []
    for text in given:
        name, equals, location = text.partition("=")
        if not equals or "/" in name or ":" in name or "\\" in name:
            plain.append(text)
        elif not location:
            raise InvalidJob(f"--model {text} names no folder; write it as NAME=LOCATION.")
        elif name in named:
            raise InvalidJob(f"--model gives the name {name!r} twice; give each location a name of its own.")
        else:
            named[name] = location
    if len(plain) > 1:
        raise InvalidJob(
            f"--model gives {len(plain)} locations without a name; one at most is the main model, write the others as "
            "NAME=LOCATION."
        )
    return (plain[0] if plain else next(iter(named))), named


def _main_name(job: Job) -> str | None:
    return next((name for name, location in job.models.items() if location == job.model), None)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidJob(
            f"{name!r} is no name for a model; write 1 to 64 letters, digits, '.', '_' or '-', a letter or digit first."
        )
