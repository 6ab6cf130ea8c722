"""`pressrun generate`, and the options that it shares with `pressrun plan`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from rich.text import Text

from deployments.cache_choice import CacheChoice
from deployments.console import ExitCode, err, out
from deployments.interrupts import heard_once
from deployments.live_progress import LiveProgress
from deployments.prefect_environment import prepare_prefect
from deployments.wrong_options import wrong_options
from pressrun.draft import draft_run, drafted
from pressrun.engine_options import EngineOptions, QualityBudget
from pressrun.errors import InvalidJob
from pressrun.job_models import split_models
from pressrun.layout import CONTACT_SHEET, REPORT
from pressrun.progress import listening
from pressrun.summary import Outcome, RunSummary

if TYPE_CHECKING:  # Prefect reads its settings when it is imported, so that waits until they are set
    from blocks.clusters import ExistingDaskCluster, LocalDaskCluster
    from flows.parameters import GenerateParameters


_EXIT_CODES = {
    Outcome.complete: ExitCode.DONE,
    Outcome.partial: ExitCode.PARTIAL,
    Outcome.unfinished: ExitCode.FAILED,
}


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateOptions:
    """What to draw, with what, into where.

    Parameters
    ----------
    model : list of str
        Model folder in the diffusers layout: a path or any fsspec URL. May be given several times as NAME=FOLDER, for
        prompt files with a column "model"; rows that name none are drawn by the one without a name, else by the first.
    output : str
        Folder or URL of the collection; one that holds some of the images already is completed.
    adapter : list of str
        A LoRA adapter that prompts may name, as NAME=FILE: a safetensors file, or a folder that holds one, as a path or
        any fsspec URL; may be given several times.
    adapters : str
        Adapters of every prompt that names none itself, as ink or ink:0.8,wash:0.5.
    images_per_prompt : int
        Pictures of every prompt, each with its own seed.
    steps : int
        Denoising steps.
    guidance_scale : float
        How closely to follow the prompt; 1 or less is off.
    scheduler : str
        Sampler; "default" is the model's own.
    width : int
        Width in pixels; the model's own when left out.
    height : int
        Height in pixels; the model's own when left out.
    negative_prompt : str
        What to steer away from.
    seed : int
        Seed of every prompt; derived from its text when left out.
    embedder : str
        CLIP or SigLIP folder that makes the collection searchable; "carried" is the small one that comes with
        Pressrun, "none" leaves the collection unsearchable.
    reuse_from : list of str
        Another collection, or a folder of several, whose pictures are taken over, not drawn, where they are exactly
        what is asked for; may be given several times.
    reuse_as : str
        Copy these pictures, or have the manifest refer to them where they are: no space is taken, and they are lost
        with the other collection.
    reuse_across_tenants : bool
        Take pictures over from collections of other tenants too.
    tenant : str
        Whose pictures these are, settled once a collection; pictures are only taken over inside one tenant.
    batch_size : int
        Pictures drawn at once; measured when left out.
    longest_batch_s : float
        Seconds that a batch may take at most, where the size is measured; no limit when left out.
    workers : int
        Worker processes; one a GPU, or one a core, when left out.
    precision : str
        Number format while drawing.
    image_format : str
        File format of the pictures; png and webp lose nothing, webp is written several times faster.
    image_level : int
        Compression of png (0 to 9), effort of webp (0 to 6), quality of jpeg (1 to 100); the best value when left out.
    layout : str
        How pictures stand in the collection: an object each (files), or in tars with request and prompt beside each
        (webdataset). A collection has one.
    shard_images : int
        Pictures of one generate task, the unit of retry.
    engine : str
        "diffusers", "null", or "package.module:factory" of your own engine.
    dask : str
        Address of a running Dask scheduler to use instead of workers on this machine.
    price : float
        Price of a worker-hour, for cost figures.
    caching : CacheChoice
        How models come to the hosts.
    tuning : EngineOptions
        What the diffusers engine trades; tried on a few pictures before the run.
    quality : QualityBudget
        How far pictures may be from the plain engine's.
    deadline : str
        Time from the start to the last picture, as 90m, 2h or 1.5h: as few workers as meet it are taken; the job is
        refused when they cannot.
    budget : float
        Money that the workers may cost, at --price: as many workers as it pays for are taken; the job is refused when
        it is too little.
    """

    model: Annotated[list[str], Parameter(alias="-m", negative="")]
    output: Annotated[str, Parameter(alias="-o")]
    adapter: Annotated[list[str], Parameter(negative="")] = field(default_factory=list)
    adapters: str = ""
    images_per_prompt: int = 1
    steps: int = 20
    guidance_scale: float = 5.0
    scheduler: str = "default"
    width: int | None = None
    height: int | None = None
    negative_prompt: str = ""
    seed: int | None = None
    embedder: str = "carried"
    reuse_from: Annotated[list[str], Parameter(negative="")] = field(default_factory=list)
    reuse_as: Literal["copy", "reference"] = "copy"
    reuse_across_tenants: Annotated[bool, Parameter(negative="")] = False
    tenant: str = ""
    batch_size: int | None = None
    longest_batch_s: float | None = None
    workers: int | None = None
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    image_format: Literal["png", "webp", "jpeg"] = "png"
    image_level: int | None = None
    layout: Literal["files", "webdataset"] = "files"
    shard_images: int = 2000
    engine: str = "diffusers"
    dask: str | None = None
    price: float | None = None
    deadline: str | None = None
    budget: float | None = None
    caching: Annotated[CacheChoice, Parameter(name="*")] = field(default_factory=CacheChoice)
    tuning: Annotated[EngineOptions, Parameter(name="*", group="Engine options", negative_bool=())] = field(
        default_factory=EngineOptions
    )
    quality: Annotated[QualityBudget, Parameter(name="*", group="Engine options", negative_bool=())] = field(
        default_factory=QualityBudget
    )


Json = Annotated[bool, Parameter(name="--json", negative="")]


def generate(
    prompts: str,
    options: GenerateOptions,
    *,
    as_json: Json = False,
    verbose: Annotated[bool, Parameter(alias="-v", negative="")] = False,
) -> ExitCode:
    """Generate every image that the prompts ask for and the collection does not hold.

    Running the same command again finishes what was interrupted and does nothing when all is done.

    Parameters
    ----------
    prompts : str
        CSV, TSV, JSONL, Parquet or text file; a path or any fsspec URL.
    options : GenerateOptions
        What to draw, with what, into where.
    as_json : bool
        Print the run's summary as JSON.
    verbose : bool
        Show Prefect's own log lines.
    """
    prepare_prefect(verbose)
    parameters = parameters_of(prompts, options)
    with heard_once(), LiveProgress(err) as progress, listening(progress):
        progress.say("check", "reading prompts and model")
        draft = draft_run(parameters.job())  # a bad row is told now, not when the server is up
        progress.say("prefect", "starting Prefect's temporary server, 10-15 s")
        from deployments.temporary_server import TemporaryServer

        server = TemporaryServer()
        from flows.generate_images import generate_images  # beside the server's start

        server.wait()
        with drafted(draft):
            summary = generate_images(parameters)
    _show_summary(summary, as_json)
    return _EXIT_CODES[summary.outcome]


def parameters_of(prompts: str, options: GenerateOptions) -> GenerateParameters:
    """Return the flow's parameters for a command's options.

    Raises
    ------
    InvalidJob
        With every option that is out of its range.
    """
    from pydantic import ValidationError

    from blocks.engine import DiffusersEngine
    from flows.parameters import GenerateParameters, PictureDefaults

    plain = asdict(options)
    defaults = {name: plain.pop(name) for name in PictureDefaults.model_fields}
    plain["adapters"] = places_by_name(plain.pop("adapter"))
    plain["model"], plain["models"] = split_models(options.model)
    price, dask = plain.pop("price"), plain.pop("dask")
    del plain["caching"]
    plain["cache"] = options.caching.parameters()
    engine_options = DiffusersEngine(**plain.pop("tuning"), **plain.pop("quality"))
    if plain["embedder"] == "none":
        plain["embedder"] = None
    try:
        return GenerateParameters(
            prompts=prompts,
            defaults=defaults,
            cluster=_cluster(options.workers, price, dask),
            engine_options=engine_options,
            **plain,
        )
    except ValidationError as error:
        raise wrong_options(error, _option) from error


def places_by_name(pairs: Sequence[str]) -> dict[str, str]:
    """Return the places of adapters given as NAME=FILE, by name.

    Raises
    ------
    InvalidJob
        When one is no such pair, or a name is given twice.
    """
    places: dict[str, str] = {}
    for pair in pairs:
        name, sign, place = pair.partition("=")
        if not (name and sign and place):
            raise InvalidJob(f"--adapter {pair!r} names no file; write it as NAME=FILE, such as ink=ink.safetensors.")
        if name in places:
            raise InvalidJob(f"--adapter {name!r} is given twice ({places[name]} and {place}); give one of them.")
        places[name] = place
    return places


def _cluster(workers: int | None, price: float | None, dask: str | None) -> LocalDaskCluster | ExistingDaskCluster:
    from blocks.clusters import ExistingDaskCluster, LocalDaskCluster

    if dask is not None:
        return ExistingDaskCluster(address=dask, price_per_worker_hour=price)
    return LocalDaskCluster(workers=workers, price_per_worker_hour=price)


def _show_summary(summary: RunSummary, as_json: bool) -> None:
    if as_json:
        out.print_json(json.dumps(summary.record()))
        return
    colour = "green" if summary.outcome is Outcome.complete else "yellow"
    taken_over = f" ({summary.reused} taken over)" if summary.reused else ""
    out.print(
        f"[bold {colour}]{summary.outcome.value}[/]: {summary.done} images rendered, {summary.failed} failed, "
        f"{summary.held} held before{taken_over}, {summary.duplicates} duplicates; {summary.wall_s:.0f} s, "
        f"{summary.images_per_s:.1f} images/s",
        highlight=False,
        soft_wrap=True,
    )
    place = summary.collection.rstrip("/")
    out.print(Text(f"  {place}/{CONTACT_SHEET}   {place}/{REPORT}   {place}/manifest/"), soft_wrap=True)


def _option(place: tuple[int | str, ...]) -> str:
    """Return the option that a place in the flow's parameters stands for."""
    names = {"address": "dask", "price_per_worker_hour": "price"}
    if place[0] == "cache":
        names = {"runtime": "cache", "mounts": "mount", "budget": "cache-budget", "memory": "cache-memory"}
        names["folder"] = "cache-folder"
    name = names.get(str(place[-1]), str(place[-1]))
    return f"--{name.replace('_', '-')}"
